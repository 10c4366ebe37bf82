// A stored request as a command to run again, with a placeholder where the key goes.

/** Safe within a POSIX shell, whatever the text holds. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

export type CurlRequest = { url: string; body: string | null; model: string; headers: Record<string, string> };

export function curl({ url, body, model, headers }: CurlRequest): string {
  const data = body ?? JSON.stringify({ model, messages: [{ role: "user", content: "…" }] });
  const lines = [
    `curl ${quoted(url)}`,
    `  -H "Authorization: Bearer $OPENAI_API_KEY"`,
    `  -H 'Content-Type: application/json'`,
    ...Object.entries(headers)
      .filter(([, value]) => value !== "")
      .map(([name, value]) => `  -H ${quoted(`${name}: ${value}`)}`),
    `  -d ${quoted(data)}`,
  ];
  return lines.join(" \\\n");
}
