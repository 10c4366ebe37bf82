// A headless Chromium of the system's, as every test and screenshot starts it. It asks no other host for anything.
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** Where the browser is, or undefined. */
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
