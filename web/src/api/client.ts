// All calls to the API. URLs are relative to the page's base, types come from the OpenAPI document, and every failure is an
// ApiError whose message says what to do.
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
type QueryOf<Op> = Op extends { parameters: { query?: infer T } } ? T : undefined;

type RequestOptions = { params?: Record<string, string>; query?: Query; signal?: AbortSignal; body?: unknown };
type Options<Op> = Omit<RequestOptions, "query" | "body"> & { query?: QueryOf<Op> } & (BodyOf<Op> extends undefined
    ? { body?: undefined }
    : { body: BodyOf<Op> });

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

  /** Whether a retry may succeed. */
  get isTransient(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** The path that the console is served under. Ends with a slash. */
export function basePath(): string {
  return new URL(".", document.baseURI).pathname;
}

export function apiUrl(path: string, params: Record<string, string> = {}, query: Query = {}): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params[name] ?? ""));
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== "") search.set(name, String(value));
  const text = search.toString();
  return `${basePath()}${filled.slice(1)}${text === "" ? "" : `?${text}`}`;
}

/** The error of a response. A body without luner's error shape probably came from a proxy, and the message says so. */
export function errorFrom(status: number, body: unknown): ApiError {
  const parsed = body as
    | { error?: { message?: unknown; code?: unknown; param?: unknown }; details?: unknown }
    | null
    | undefined;
  const message = parsed?.error?.message;
  if (typeof message !== "string")
    return new ApiError(
      status,
      `The gateway answered with status ${status} and no error message. A proxy in between may have refused the request.`,
    );
  const text = (value: unknown) => (typeof value === "string" ? value : null);
  const details = Array.isArray(parsed?.details) ? (parsed.details as Detail[]) : [];
  return new ApiError(status, message, text(parsed?.error?.code), text(parsed?.error?.param), details);
}

async function send<T>(method: string, path: string, options: RequestOptions): Promise<T> {
  const body = options.body === undefined ? undefined : JSON.stringify(options.body);
  let response: Response;
  try {
    response = await fetch(apiUrl(path, options.params, options.query), {
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
  if (response.status === 204) return undefined as T;
  const parsed: unknown = await response.json().catch(() => undefined);
  // While draining, health answers 503 with the usual body.
  if (!response.ok && !(path === "/api/health" && response.status === 503)) throw errorFrom(response.status, parsed);
  if (parsed === undefined)
    throw new ApiError(response.status, "The gateway's answer is not JSON. A proxy in between may have replaced it.");
  return parsed as T;
}

export function get<P extends keyof paths>(
  path: P,
  options: Options<OperationOf<P, "get">> = {} as Options<OperationOf<P, "get">>,
): Promise<JsonOf<OperationOf<P, "get">>> {
  return send("GET", path, options);
}

export function post<P extends keyof paths>(
  path: P,
  options: Options<OperationOf<P, "post">>,
): Promise<JsonOf<OperationOf<P, "post">>> {
  return send("POST", path, options);
}

export function put<P extends keyof paths>(
  path: P,
  options: Options<OperationOf<P, "put">>,
): Promise<JsonOf<OperationOf<P, "put">>> {
  return send("PUT", path, options);
}

export function remove<P extends keyof paths>(
  path: P,
  options: Omit<RequestOptions, "query" | "body"> = {},
): Promise<void> {
  return send("DELETE", path, options);
}
