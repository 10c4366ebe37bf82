// Unit tests of the logic run in happy-dom; those in a real browser (e2e) run in Node and drive Chromium.
import { mergeConfig } from "vite";
import { defineConfig } from "vitest/config";
import base from "./vite.config.ts";

/** Of tests that drive a browser. Arbitrary, generous: nothing is measured with it. */
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
