// Builds the console with relative asset URLs, so that it works under any base path, and with nothing inline, so that it
// works under a strict content security policy.
import { fileURLToPath } from "node:url";
import tailwind from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
// The API during development: LUNER_URL, or else the fixture.
const api = process.env.LUNER_URL ?? "http://127.0.0.1:4180";

export default defineConfig({
  base: "./",
  plugins: [react(), tailwind()],
  resolve: {
    alias: {
      "@": here("./src"),
      // Radix dialogs lock scrolling with a <style> element, which the policy forbids. Ours uses a class.
      "react-remove-scroll": here("./src/lib/scroll-lock.tsx"),
    },
  },
  build: {
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    // scripts/web-pack.mjs checks the size of chunks.
    chunkSizeWarningLimit: 1000,
  },
  server: { port: 4179, proxy: { "/api": api, "/v1": api } },
});
