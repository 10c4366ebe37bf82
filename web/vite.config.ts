// How the console is built: relative asset addresses, so that it works under any base path, and nothing inline,
// so that it works under a strict content security policy.
import { fileURLToPath } from "node:url";
import tailwind from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
// Where the API answers during development: a luner, or the fixture.
const api = process.env.LUNER_URL ?? "http://127.0.0.1:4180";

export default defineConfig({
  base: "./",
  plugins: [react(), tailwind()],
  resolve: {
    alias: {
      "@": here("./src"),
      // Radix' dialogs lock scrolling by a <style> element, which the policy forbids; ours does it by a class.
      "react-remove-scroll": here("./src/lib/scroll-lock.tsx"),
    },
  },
  build: {
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    // The largest chunk is checked by the budgets (scripts/web-pack.mjs), not by a warning.
    chunkSizeWarningLimit: 1000,
  },
  server: { port: 4179, proxy: { "/api": api, "/v1": api } },
});
