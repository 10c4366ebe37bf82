// Unit tests run in happy-dom. Browser tests run in Node and drive Chromium: `e2e` against the fixture, `real` against luner.
import { mergeConfig } from "vite";
import { defineConfig } from "vitest/config";
import base from "./vite.config.ts";

/** Timeouts of browser tests. Arbitrary, but long enough for a busy machine. */
const patient = { testTimeout: 60_000, hookTimeout: 60_000, fileParallelism: false };

export default mergeConfig(
  base,
  defineConfig({
    test: {
      projects: [
        { extends: true, test: { name: "unit", environment: "happy-dom", include: ["src/**/*.test.{ts,tsx}"] } },
        {
          extends: true,
          test: {
            name: "e2e",
            environment: "node",
            include: ["e2e/*.test.ts"],
            exclude: ["e2e/real.test.ts"],
            ...patient,
          },
        },
        {
          extends: true,
          test: {
            name: "real",
            environment: "node",
            include: ["e2e/*.test.ts"],
            env: { GATEWAY: "luner" },
            ...patient,
          },
        },
      ],
    },
  }),
);
