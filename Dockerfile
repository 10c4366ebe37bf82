# luner as an image: the console is built first, then the binary that carries it, and the binary alone is shipped.
#
#   docker build -t luner .
#   docker buildx build --platform linux/amd64,linux/arm64 -t luner .
#   docker run -p 127.0.0.1:8080:8080 -e OPENAI_API_KEY -e LUNER_ADMIN_TOKEN -v luner:/var/lib/luner luner
#
# It wants BuildKit (the default since Docker 23). Where a registry cannot be reached, each base image has an argument.

ARG NODE_IMAGE=node:20-bookworm-slim
ARG RUST_IMAGE=rust:1.95-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

# The console does not depend on the platform, so it is built once, on the builder's own.
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS console
WORKDIR /src/web
COPY web/package.json web/package-lock.json ./
RUN --mount=type=cache,target=/var/cache/npm npm ci --cache /var/cache/npm --no-audit --no-fund
COPY scripts/web-pack.mjs ../scripts/
COPY web ./
RUN npm run build

# Compiled on the builder's platform for the image's: emulating a compiler takes ten times as long.
FROM --platform=$BUILDPLATFORM ${RUST_IMAGE} AS binary
ARG TARGETARCH
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ENV CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
# SQLite, mimalloc and ring are C: another architecture needs its compiler and libc, too.
# hadolint ignore=DL3008
RUN arch=${TARGETARCH:-$(dpkg --print-architecture)}; \
    case $arch in \
      amd64) cpu=x86_64 ;; \
      arm64) cpu=aarch64 ;; \
      *) echo "no image for the architecture $arch" >&2; exit 1 ;; \
    esac; \
    echo "$cpu-unknown-linux-gnu" >/target-triple; \
    if ! command -v "$cpu-linux-gnu-gcc" >/dev/null; then \
      apt-get update; \
      apt-get install -y --no-install-recommends "crossbuild-essential-$arch"; \
      rm -rf /var/lib/apt/lists/*; \
      rustup target add "$cpu-unknown-linux-gnu"; \
    fi
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY bench bench
COPY config config
COPY src src
COPY --from=console /src/web/dist web/dist
# Dependencies stay compiled in the cache, from one build to the next. cargo sees new files of the console's folder only when
# a source file is newer, too.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=luner-target-${TARGETARCH},sharing=locked \
    triple=$(cat /target-triple); \
    touch src/console.rs; \
    cargo build --release --locked --target "$triple" -p luner -p mock-llm --bins; \
    install -D -t /out/bin "target/$triple/release/luner" "target/$triple/release/mock-llm"; \
    mkdir -p /out/state

# glibc, certificates, time zones: no shell, no package manager.
FROM ${RUNTIME_IMAGE} AS runtime
# A number, so that Kubernetes can tell that it is not root; `nonroot` of distroless.
USER 65532:65532
WORKDIR /var/lib/luner
STOPSIGNAL SIGTERM

# The scripted provider, for trying things out: `docker build --target mock-llm`.
FROM runtime AS mock-llm
COPY --from=binary /out/bin/mock-llm /usr/local/bin/mock-llm
EXPOSE 9000
ENTRYPOINT ["/usr/local/bin/mock-llm"]
CMD ["--listen", "0.0.0.0:9000"]

FROM runtime AS luner
LABEL org.opencontainers.image.title="luner" \
      org.opencontainers.image.description="An AI gateway: judges every LLM request before it costs money, accounts for it afterwards" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=binary /out/bin/luner /usr/local/bin/luner
COPY config/config.example.yaml /etc/luner/config.yaml
COPY config/prices.json /etc/luner/prices.json
COPY LICENSE /usr/share/doc/luner/LICENSE
# The only place that is written to: the root may be read-only.
COPY --from=binary --chown=65532:65532 /out/state /var/lib/luner
VOLUME /var/lib/luner
EXPOSE 8080
# Asks /api/health on port 8080; `luner health --url` where it listens elsewhere.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["/usr/local/bin/luner", "health"]
ENTRYPOINT ["/usr/local/bin/luner"]
CMD ["serve", "--config", "/etc/luner/config.yaml"]
