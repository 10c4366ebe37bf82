// A proxy that serves luner below a path and takes that path off, as nginx' `proxy_pass http://…/;` does.
import { createServer, request } from "node:http";

/** Starts one before `target`; what is not below `base` is another site's and refused. */
export async function startProxy(target, base) {
  const elsewhere = [];
  const server = createServer((asked, answer) => {
    if (!asked.url.startsWith(base)) {
      elsewhere.push(asked.url);
      answer.writeHead(404).end();
      return;
    }
    const to = new URL(target);
    const path = asked.url.slice(base.length - 1);
    const sent = request(
      { host: to.hostname, port: to.port, path, method: asked.method, headers: asked.headers },
      (got) => {
        answer.writeHead(got.statusCode, got.headers);
        got.pipe(answer);
      },
    );
    sent.on("error", () => answer.destroy());
    answer.on("close", () => sent.destroy());
    asked.pipe(sent);
  });
  await new Promise((listening) => {
    server.listen(0, "127.0.0.1", listening);
  });
  return {
    url: `http://127.0.0.1:${server.address().port}${base}`,
    /** Addresses outside of the path that somebody asked for. */
    elsewhere,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
