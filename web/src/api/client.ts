// The one door to the API. Addresses are relative to the page's base, shapes come from the OpenAPI document, and every
// failure is an ApiError that says what to do.
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];
export type Detail = NonNullable<Schemas["Error"]["details"]>[number];

type JsonOf<Op> = Op extends { responses: { 200: { content: { "application/json": infer T } } } }
  ? T
  : Op extends { responses: { 201: { content: { "application/json": infer T } } } }
    ? T
    : undefined;
type OperationOf<P extends keyof paths, M extends string> = M extends keyof paths[P] ? paths[P][M] : never;
type BodyOf<Op> = Op extends { requestBody: { content: { "application/json": infer T } } } ? T : undefined;
type Query = Record<string, string | number | boolean | undefined>;

type Sent = { at?: Record<string, string>; query?: Query; signal?: AbortSignal; body?: unknown };
type Options<B> = Omit<Sent, "body"> & (B extends undefined ? { body?: undefined } : { body: B });

export class ApiError extends Error {
  readonly status: number;
  readonly code: string | null;
  readonly param: string | null;
  readonly details: Detail[];

  constructor(
    status: number,
    message: string,
    code: string | null = null,
    param: string | null = null,
    details: Detail[] = [],
  ) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.param = param;
    this.details = details;
  }

  /** Asking again may help. */
  get passing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** The path that the console is served under, with a slash at its end. */
export function basePath(): string {
  return new URL(".", document.baseURI).pathname;
}

export function address(path: string, at: Record<string, string> = {}, query: Query = {}): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(at[name] ?? ""));
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== "") params.set(name, String(value));
  const text = params.toString();
  return `${basePath()}${filled.slice(1)}${text === "" ? "" : `?${text}`}`;
}

/** The error in an answer; what is no JSON of ours came from something between, and is said so. */
export function errorIn(status: number, body: unknown): ApiError {
  const said = body as
    | { error?: { message?: unknown; code?: unknown; param?: unknown }; details?: unknown }
    | null
    | undefined;
  const message = said?.error?.message;
  if (typeof message !== "string")
    return new ApiError(
      status,
      `The gateway answered with status ${status} and no reason. A proxy in between may have refused the request.`,
    );
  const text = (value: unknown) => (typeof value === "string" ? value : null);
  const details = Array.isArray(said?.details) ? (said.details as Detail[]) : [];
  return new ApiError(status, message, text(said?.error?.code), text(said?.error?.param), details);
}

async function send<T>(method: string, path: string, options: Sent): Promise<T> {
  const body = options.body === undefined ? undefined : JSON.stringify(options.body);
  let answer: Response;
  try {
    answer = await fetch(address(path, options.at, options.query), {
      method,
      headers: { accept: "application/json", ...(body === undefined ? {} : { "content-type": "application/json" }) },
      body,
      signal: options.signal,
      credentials: "same-origin",
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(
      0,
      "The gateway cannot be reached. It may be restarting, or the network is down.",
      "unreachable",
    );
  }
  if (answer.status === 204) return undefined as T;
  const parsed: unknown = await answer.json().catch(() => undefined);
  if (!answer.ok && !(path === "/api/health" && answer.status === 503)) throw errorIn(answer.status, parsed);
  if (parsed === undefined)
    throw new ApiError(answer.status, "The gateway's answer is not JSON. A proxy in between may have replaced it.");
  return parsed as T;
}

export function get<P extends keyof paths>(
  path: P,
  options: Options<undefined> = {},
): Promise<JsonOf<OperationOf<P, "get">>> {
  return send("GET", path, options);
}

export function post<P extends keyof paths>(
  path: P,
  options: Options<BodyOf<OperationOf<P, "post">>>,
): Promise<JsonOf<OperationOf<P, "post">>> {
  return send("POST", path, options);
}

export function put<P extends keyof paths>(
  path: P,
  options: Options<BodyOf<OperationOf<P, "put">>>,
): Promise<JsonOf<OperationOf<P, "put">>> {
  return send("PUT", path, options);
}

export function remove<P extends keyof paths>(path: P, options: Options<undefined> = {}): Promise<void> {
  return send("DELETE", path, options);
}
