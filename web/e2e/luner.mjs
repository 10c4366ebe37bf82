// A real luner before the scripted provider, on free ports and with a database of its own; both end with `stop`. The
// binaries are those that cargo built, or LUNER_BIN and MOCK_LLM_BIN.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const TARGET = resolve(ROOT, process.env.CARGO_TARGET_DIR ?? "target");
/** How long either may take to start or to end, on a machine that does other things too. Arbitrary. */
const PATIENCE_MS = 120_000;
/** Lines of a log that are shown when something fails. */
const TAIL_LINES = 20;

function binary(variable, name) {
  const given = process.env[variable];
  const places = given ? [resolve(given)] : ["debug", "release"].map((profile) => join(TARGET, profile, name));
  const found = places.find((place) => existsSync(place));
  if (!found)
    throw new Error(`no ${name} at ${places.join(" or ")}: cargo build --workspace --bins, or set ${variable}`);
  return found;
}

/** A process, started; `address` is what `find` sees in one of its lines. */
async function started(name, words, find, env = {}) {
  const child = spawn(binary(...name), words, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const lines = [];
  const ended = new Promise((end) => child.once("exit", (code, signal) => end(code ?? signal)));
  const address = await new Promise((found, failed) => {
    const late = setTimeout(() => failed(new Error("it did not say where it listens")), PATIENCE_MS);
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        lines.push(line);
        const address = find(line);
        if (address) {
          clearTimeout(late);
          found(address);
        }
      });
    }
    ended.then((code) => failed(new Error(`it ended with ${code}`)));
  }).catch((error) => {
    child.kill("SIGKILL");
    throw new Error(`${name[1]}: ${error.message}\n${lines.slice(-TAIL_LINES).join("\n")}`);
  });
  const stop = async () => {
    child.kill("SIGTERM");
    const late = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
    const code = await ended;
    clearTimeout(late);
    if (code !== 0 && code !== "SIGTERM")
      throw new Error(`${name[1]} ended with ${code}\n${lines.slice(-TAIL_LINES).join("\n")}`);
  };
  return { address, lines, stop, pid: child.pid };
}

const parsed = (line) => {
  try {
    return JSON.parse(line);
  } catch {
    return {};
  }
};

/** The console in the binary is the one in web/dist, so that no old one is tested. */
async function isFresh(url, base) {
  const built = readFileSync(fileURLToPath(new URL("../dist/index.html", import.meta.url)), "utf8");
  const served = await (await fetch(url)).text();
  if (served !== built.replace('<base href="/"', `<base href="${base}"`))
    throw new Error("luner serves another console than web/dist: build it, then cargo build --workspace --bins");
}

/** Starts both. `more` is YAML at the top level; a `token` is the admin's. */
export async function startLuner({ token = "", base = "/", more = "", mock: mockWords = [] } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "luner-console-"));
  const mock = await started(
    ["MOCK_LLM_BIN", "mock-llm"],
    ["--listen", "127.0.0.1:0", "--no-ledger", ...mockWords],
    (line) => /listening on (http:\S+)/.exec(line)?.[1],
  );
  const configPath = join(folder, "config.yaml");
  const config = `version: v1
server:
  workers: 2
  drain_timeout: 2s
  base_path: ${JSON.stringify(base)}
  admin: { token: "\${CONSOLE_TOKEN:-}" }
providers:
  - name: openai-prod
    base_url: "${mock.address}"
    api_key: "sk-of-the-provider"
    models: ["gpt-4o", "gpt-4o-mini", "*"]
    retries: 0
    downgrade: { gpt-4o: gpt-4o-mini }
storage:
  sqlite: { path: ${JSON.stringify(join(folder, "luner.db"))} }
  capture: all
${more}`;
  writeFileSync(configPath, config);
  const words = ["--config", configPath, "--listen", "127.0.0.1:0", "--log", "json"];
  const find = (line) => (parsed(line).message === "listening" ? parsed(line).address : undefined);
  let luner;
  try {
    luner = await started(["LUNER_BIN", "luner"], words, find, { CONSOLE_TOKEN: token });
    await isFresh(`http://${luner.address}/`, base);
  } catch (error) {
    await luner?.stop();
    await mock.stop();
    throw error;
  }
  return {
    url: `http://${luner.address}/`,
    pid: luner.pid,
    log: luner.lines,
    config,
    /** Writes another configuration; it is read by itself. */
    rewrite: (text) => writeFileSync(configPath, text),
    stop: async () => {
      await luner.stop();
      await mock.stop();
      rmSync(folder, { recursive: true });
    },
  };
}

/** `luner demo`: a made-up past and a few requests a second. */
export async function startDemo(words = []) {
  const demo = await started(
    ["LUNER_BIN", "luner"],
    ["demo", "--listen", "127.0.0.1:0", ...words],
    (line) => /^luner runs at (http:\/\/[^,]+)/.exec(line)?.[1],
  );
  return { url: `${demo.address}/`, pid: demo.pid, stop: demo.stop };
}
