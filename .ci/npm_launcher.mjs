#!/usr/bin/env node
/**
 * `npx lovage`: starts the program, which is in a separate package for each platform, and exits with its
 * status.
 */

import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { constants } from "node:os";
import process from "node:process";

const name = `@lovage/${process.platform}-${process.arch}`;

function find() {
  const { resolve } = createRequire(import.meta.url);
  try {
    return resolve(`${name}/bin/lovage${process.platform === "win32" ? ".exe" : ""}`);
  } catch {
    const why =
      "npm leaves optional dependencies out if it is told to, or if there is none for this platform";
    process.stderr.write(`Error: Cannot find the program: the package ${name} is not installed; ${why}\n`);
    process.exit(1);
  }
}

const child = spawn(find(), process.argv.slice(2), { stdio: "inherit" });
// At a terminal, signals from keys reach the program directly; if they were passed on, one key would count
// twice.
const ofKeys = ["SIGINT", "SIGQUIT", "SIGHUP"];
for (const signal of ["SIGTERM", "SIGUSR1", "SIGUSR2", ...ofKeys]) {
  if (process.platform === "win32" && signal !== "SIGINT") continue;
  process.on(signal, () => {
    if (!ofKeys.includes(signal) || !process.stdin.isTTY) child.kill(signal);
  });
}
child.on("error", (error) => {
  process.stderr.write(`Error: Cannot start the program: ${error.message}\n`);
  process.exit(1);
});
child.on("exit", (code, signal) => {
  process.exit(code ?? 128 + constants.signals[signal]);
});
