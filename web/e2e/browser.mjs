// Starts the system's Chromium, headless, for tests and screenshots. It makes no requests of its own.
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** The path of the browser, or undefined. */
export function browserPath() {
  return process.env.CHROMIUM ?? PLACES.find((path) => existsSync(path));
}

export function launch() {
  return chromium.launch({
    executablePath: browserPath(),
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
      "--disable-dev-shm-usage",
      "--lang=en-US",
    ],
  });
}
