// A proxy that serves luner under a base path and removes the path, like nginx with `proxy_pass http://…/;`.
import { createServer, request } from "node:http";

/** Starts a proxy in front of `target`. Answers 404 to requests outside of `base`. */
export async function startProxy(target, base) {
  const outsideBase = [];
  const server = createServer((incoming, response) => {
    if (!incoming.url.startsWith(base)) {
      outsideBase.push(incoming.url);
      response.writeHead(404).end();
      return;
    }
    const to = new URL(target);
    const path = incoming.url.slice(base.length - 1);
    const outgoing = request(
      { host: to.hostname, port: to.port, path, method: incoming.method, headers: incoming.headers },
      (upstream) => {
        response.writeHead(upstream.statusCode, upstream.headers);
        upstream.pipe(response);
      },
    );
    outgoing.on("error", () => response.destroy());
    response.on("close", () => outgoing.destroy());
    incoming.pipe(outgoing);
  });
  await new Promise((listening) => {
    server.listen(0, "127.0.0.1", listening);
  });
  return {
    url: `http://127.0.0.1:${server.address().port}${base}`,
    /** The requested paths outside of the base path. */
    outsideBase,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
