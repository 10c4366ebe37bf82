#!/usr/bin/env bash
# luner with curl: LUNER_URL=http://127.0.0.1:8080 examples/curl/luner.sh
set -euo pipefail

url=${LUNER_URL:-http://127.0.0.1:8080}
model=${LUNER_MODEL:-gpt-4o}
json=(-H 'content-type: application/json')

say() { printf '\n# %s\n' "$*"; }
chat() { curl -sS --max-time 120 "$url/v1/chat/completions" "${json[@]}" "$@"; }
# Prints the error, which has OpenAI's shape, and the status.
refused() { chat -w '\n%{http_code}\n' "$@"; }

say 'health'
curl -sS --fail --max-time 10 "$url/api/health"

say 'an answer'
chat --fail -d "{\"model\": \"$model\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}"

say 'a stream'
chat --fail -N -d "{\"model\": \"$model\", \"stream\": true, \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}"

say 'an identity and a trace of your own; luner answers with headers'
chat --fail -o /dev/null -D - \
  -H 'X-Luner-User: ana' -H 'X-Luner-Tenant: acme' -H 'X-Luner-Agent: curl' \
  -H 'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' \
  -d "{\"model\": \"$model\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}" | grep -i '^x-'

say 'errors: invalid JSON, no model, no such path'
refused -d '{"model": '
refused -d '{"messages": []}'
curl -sS --max-time 10 -w '\n%{http_code}\n' "$url/v1/nothing"

say 'metrics'
curl -sS --fail --max-time 10 "$url/metrics" | grep '^luner_requests_total'
