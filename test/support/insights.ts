import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll } from "vitest";
import { packageRoot } from "../../src/paths.ts";

const running: ChildProcess[] = [];
const compiled = join(packageRoot, "node_modules", ".cache", "compiled");

/** The command line in a process of its own. */
export interface Insights {
  child: ChildProcess;
  /** Its output so far. */
  output(): string;
  /** Its standard output. */
  printed(): string;
  /** Waits until the output contains this. */
  prints(pattern: RegExp): Promise<RegExpExecArray>;
  exitCode(): Promise<number | null>;
}

/** Calls `insights` with an environment that contains only the given variables, and the given text as its input. */
export function insights(parameters: string[], environment: Record<string, string>, input = ""): Insights {
  return script(join(packageRoot, "src", "cli.ts"), parameters, environment, input);
}

/** Calls another script of the repository, or of a copy of it. */
export function script(path: string, parameters: string[], environment: Record<string, string>, input = ""): Insights {
  const child = spawn(process.execPath, [path, ...parameters], {
    // Node compiles the libraries of the command once, not in each process.
    env: { PATH: process.env["PATH"], NODE_COMPILE_CACHE: compiled, ...environment },
    stdio: ["pipe", "pipe", "pipe"],
  });
  running.push(child);
  child.stdin.end(input);
  let text = "";
  let output = "";
  child.stdout.on("data", (chunk) => {
    text += chunk;
    output += chunk;
  });
  child.stderr.on("data", (chunk) => {
    text += chunk;
  });
  // "close" comes after the last output, "exit" before it.
  const closed = once(child, "close").then(([code]) => code as number | null);
  return {
    child,
    output: () => text,
    printed: () => output,
    exitCode: () => closed,
    async prints(pattern) {
      for (;;) {
        const match = pattern.exec(text);
        if (match !== null) return match;
        if (child.exitCode !== null || child.signalCode !== null) {
          throw new Error(`ended without saying ${pattern}:\n${text}`);
        }
        const heard = new AbortController();
        const { signal } = heard;
        await Promise.race([once(child.stdout, "data", { signal }), once(child.stderr, "data", { signal }), closed]);
        heard.abort();
      }
    },
  };
}

/** Ends the processes that a test file has left running; call it once per file. */
export function endAtEndOfFile(): void {
  afterAll(async () => {
    for (const child of running) {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGKILL");
        await once(child, "exit");
      }
    }
  });
}
