import { SingleBar } from "cli-progress";

/** A long step with a known or unknown end, shown while it lasts. */
export interface Progress {
  /** `done` of `total`; without a total, the count alone. */
  update(done: number, total?: number): void;
  /** Replaces the bar by one line. */
  finish(text?: string): void;
  /** Takes the bar away, for an error to be read. */
  stop(): void;
}

const seconds = (since: number): string => `${((performance.now() - since) / 1000).toFixed(1)} s`;

/** Where there is no terminal: one line at the beginning and one at the end of each step. */
function plainProgress(label: string, out: NodeJS.WriteStream): Progress {
  const started = performance.now();
  out.write(`${label} …\n`);
  return {
    update() {},
    finish: (text) => void out.write(`${label}: ${text === undefined ? "" : `${text}, `}${seconds(started)}\n`),
    stop() {},
  };
}

/** A bar on a terminal, plain lines elsewhere. */
export function progress(label: string, out: NodeJS.WriteStream = process.stdout): Progress {
  if (!out.isTTY) return plainProgress(label, out);
  const started = performance.now();
  let share = 0;
  let detail = "";
  const bar = new SingleBar({
    stream: out,
    hideCursor: true,
    clearOnComplete: true,
    fps: 10,
    format: (_options, { progress: value }) => {
      const width = 30;
      const filled = Math.round(value * width);
      return `${label.padEnd(28)} ${"█".repeat(filled)}${"░".repeat(width - filled)} ${detail.padEnd(8)} ${seconds(started)}`;
    },
  });
  bar.start(1000, 0);
  // A step that cannot count still shows that time passes.
  const timer = setInterval(() => bar.update(Math.round(share * 1000)), 200);
  const close = (): void => {
    clearInterval(timer);
    bar.stop();
  };
  return {
    update(done, total) {
      share = total === undefined || total === 0 ? 0 : Math.min(1, done / total);
      detail = total === undefined ? String(done) : `${Math.floor(share * 100)} %`;
    },
    finish(text) {
      close();
      out.write(`${label.padEnd(28)} ${text === undefined ? "" : `${text}, `}${seconds(started)}\n`);
    },
    stop: close,
  };
}

/** Shows a step around some work. */
export async function step<T>(
  label: string,
  work: (bar: Progress) => Promise<T>,
  result?: (value: T) => string,
  out: NodeJS.WriteStream = process.stdout,
): Promise<T> {
  const bar = progress(label, out);
  try {
    const value = await work(bar);
    bar.finish(result?.(value));
    return value;
  } catch (error) {
    bar.stop();
    throw error;
  }
}
