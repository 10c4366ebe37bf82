// Writes a stored request as a curl command, with a placeholder for the API key.

/** Quotes any text for a POSIX shell. */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

export type CurlRequest = { url: string; body: string | null; model: string; headers: Record<string, string> };

export function curl({ url, body, model, headers }: CurlRequest): string {
  const data = body ?? JSON.stringify({ model, messages: [{ role: "user", content: "…" }] });
  const lines = [
    `curl ${shellQuote(url)}`,
    `  -H "Authorization: Bearer $OPENAI_API_KEY"`,
    `  -H 'Content-Type: application/json'`,
    ...Object.entries(headers)
      .filter(([, value]) => value !== "")
      .map(([name, value]) => `  -H ${shellQuote(`${name}: ${value}`)}`),
    `  -d ${shellQuote(data)}`,
  ];
  return lines.join(" \\\n");
}
