// Starts luner with the scripted provider (mock-llm), on free ports and with a database of its own. `stop` ends both. The
// binaries are those that cargo built, or LUNER_BIN and MOCK_LLM_BIN.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const TARGET = resolve(ROOT, process.env.CARGO_TARGET_DIR ?? "target");
/** Longest time for a process to start or to end. Arbitrary, but long enough for a busy machine. */
const TIMEOUT_MS = 120_000;
/** Log lines that an error includes. */
const LOG_LINES = 20;

function binary(variable, name) {
  const given = process.env[variable];
  const places = given ? [resolve(given)] : ["debug", "release"].map((profile) => join(TARGET, profile, name));
  const found = places.find((place) => existsSync(place));
  if (!found)
    throw new Error(`no ${name} at ${places.join(" or ")}: cargo build --workspace --bins, or set ${variable}`);
  return found;
}

/** Starts a process, and waits until `find` returns its address from one of its output lines. */
async function startProcess(name, args, find, env = {}) {
  const child = spawn(binary(...name), args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const lines = [];
  const ended = new Promise((end) => child.once("exit", (code, signal) => end(code ?? signal)));
  const address = await new Promise((found, failed) => {
    const timer = setTimeout(() => failed(new Error("it printed no address")), TIMEOUT_MS);
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        lines.push(line);
        const address = find(line);
        if (address) {
          clearTimeout(timer);
          found(address);
        }
      });
    }
    ended.then((code) => failed(new Error(`it exited with ${code}`)));
  }).catch((error) => {
    child.kill("SIGKILL");
    throw new Error(`${name[1]}: ${error.message}\n${lines.slice(-LOG_LINES).join("\n")}`);
  });
  const stop = async () => {
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), TIMEOUT_MS);
    const code = await ended;
    clearTimeout(timer);
    if (code !== 0 && code !== "SIGTERM")
      throw new Error(`${name[1]} exited with ${code}\n${lines.slice(-LOG_LINES).join("\n")}`);
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

/** Throws unless the binary embeds the console in web/dist, so that no old console is tested. */
async function checkConsole(url, base) {
  const built = readFileSync(fileURLToPath(new URL("../dist/index.html", import.meta.url)), "utf8");
  const served = await (await fetch(url)).text();
  if (served !== built.replace('<base href="/"', `<base href="${base}"`))
    throw new Error(
      "luner serves another console than the one in web/dist; build that, then cargo build --workspace --bins",
    );
}

/** Starts luner and its provider. `token` is the admin token. */
export async function startLuner({ token = "", base = "/" } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "luner-console-"));
  const mock = await startProcess(
    ["MOCK_LLM_BIN", "mock-llm"],
    ["--listen", "127.0.0.1:0", "--no-ledger"],
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
`;
  writeFileSync(configPath, config);
  const args = ["--config", configPath, "--listen", "127.0.0.1:0", "--log", "json"];
  const find = (line) => (parsed(line).message === "listening" ? parsed(line).address : undefined);
  let luner;
  try {
    luner = await startProcess(["LUNER_BIN", "luner"], args, find, { CONSOLE_TOKEN: token });
    await checkConsole(`http://${luner.address}/`, base);
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
    /** Writes another configuration. luner reloads it. */
    rewrite: (text) => writeFileSync(configPath, text),
    stop: async () => {
      await luner.stop();
      await mock.stop();
      rmSync(folder, { recursive: true });
    },
  };
}

/** Starts `luner demo`: a made-up history, and a few requests a second. */
export async function startDemo(args = []) {
  const demo = await startProcess(
    ["LUNER_BIN", "luner"],
    ["demo", "--listen", "127.0.0.1:0", ...args],
    (line) => /^luner runs at (http:\/\/[^,]+)/.exec(line)?.[1],
  );
  return { url: `${demo.address}/`, pid: demo.pid, stop: demo.stop };
}
