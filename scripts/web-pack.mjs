// After the build of web/: checks the budgets, and writes .br and .gz beside each asset that is worth it.
// `--check` only checks what is built.
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { extname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const DIST = fileURLToPath(new URL("../web/dist/", import.meta.url));
const KB = 1000;
/** What a first visit fetches, gzipped: the page, its style, its entry and what that imports at once. */
const FIRST_LOAD_MAX = 240 * KB;
/** Any one chunk that is fetched later. */
const CHUNK_MAX = 200 * KB;
const PACKED = new Set([".js", ".css", ".html", ".svg", ".json"]);
/** Below this a compressed copy saves less than its headers cost. Arbitrary. */
const WORTH_BYTES = 512;

const walk = (folder) =>
  readdirSync(folder, { withFileTypes: true }).flatMap((it) => (it.isDirectory() ? walk(join(folder, it.name)) : [join(folder, it.name)]));
const files = walk(DIST).filter((path) => !/\.(br|gz)$/.test(path));
const gzipped = new Map(files.map((path) => [relative(DIST, path), gzipSync(readFileSync(path), { level: 9 })]));
const size = (name) => gzipped.get(name)?.length ?? 0;

const html = readFileSync(join(DIST, "index.html"), "utf8");
const problems = [];
if (/<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=/i.test(html)) problems.push("index.html holds inline script or style, which the content security policy forbids");
if (html.split('<base href="/"').length !== 2) problems.push('index.html has no <base href="/"> of its own, which the server fills in');
const first = new Set(["index.html"]);
for (const [, path] of html.matchAll(/(?:src|href)="\.?\/?([^"]+)"/g)) {
  const name = path.replace(/^\.\//, "");
  if (gzipped.has(name)) first.add(name);
}
const total = [...first].reduce((sum, name) => sum + size(name), 0);
if (total > FIRST_LOAD_MAX) problems.push(`the first load is ${total} bytes gzipped, at most ${FIRST_LOAD_MAX} are allowed`);
for (const [name] of gzipped) if (size(name) > CHUNK_MAX) problems.push(`${name} is ${size(name)} bytes gzipped, at most ${CHUNK_MAX} are allowed`);

if (!process.argv.includes("--check")) {
  for (const path of files) {
    for (const end of [".br", ".gz"]) rmSync(path + end, { force: true });
    // The server fills the page's <base> in, so it is sent as it is.
    if (!PACKED.has(extname(path)) || statSync(path).size < WORTH_BYTES || path.endsWith("index.html")) continue;
    const bytes = readFileSync(path);
    writeFileSync(`${path}.gz`, gzipped.get(relative(DIST, path)));
    writeFileSync(`${path}.br`, brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }));
  }
}
const kb = (bytes) => `${(bytes / KB).toFixed(1)} kB`;
console.log(`first load ${kb(total)} of ${kb(FIRST_LOAD_MAX)} gzipped: ${[...first].map((name) => `${name} ${kb(size(name))}`).join(", ")}`);
for (const problem of problems) console.error(`web-pack: ${problem}`);
process.exit(problems.length === 0 ? 0 : 1);
