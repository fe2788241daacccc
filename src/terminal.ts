import { SingleBar } from "cli-progress";

/** A long step with a known or unknown end, shown while it runs. */
export interface Progress {
  /** `done` of `total`; without a total, the count alone. `note`: shown beside it, such as a speed. */
  update(done: number, total?: number, note?: string): void;
  /** Replaces the bar by one line. */
  finish(text?: string): void;
  /** Removes the bar, before an error is printed. */
  stop(): void;
}

const seconds = (since: number): string => `${((performance.now() - since) / 1000).toFixed(1)} s`;

/** Milliseconds between two lines of a step with notes. */
const PLAIN_PERIOD = 30_000;

const shareOf = (done: number, total: number | undefined): number | undefined =>
  total === undefined || total === 0 ? undefined : Math.min(1, done / total);

const detailOf = (done: number, total: number | undefined): string => {
  const share = shareOf(done, total);
  return share === undefined ? String(done) : `${Math.floor(share * 100)} %`;
};

/** Without a terminal: one line at the start and one at the end of each step, and one each half minute with notes. */
function plainProgress(label: string, out: NodeJS.WriteStream): Progress {
  const started = performance.now();
  out.write(`${label} …\n`);
  let shown = started;
  return {
    update(done, total, note) {
      if (note === undefined || performance.now() - shown < PLAIN_PERIOD) return;
      shown = performance.now();
      out.write(`${label}: ${detailOf(done, total)}, ${note}\n`);
    },
    finish: (text) => void out.write(`${label}: ${text === undefined ? "" : `${text}, `}${seconds(started)}\n`),
    stop() {},
  };
}

/** The filled part of the bar; if the end is unknown, a moving block shows that work continues. */
function drawing(share: number | undefined, started: number): string {
  const width = 30;
  const block = share === undefined ? 6 : Math.round(share * width);
  const way = 2 * (width - block);
  const step = Math.floor((performance.now() - started) / 200) % Math.max(way, 1);
  const before = share === undefined ? Math.min(step, way - step) : 0;
  return `${"░".repeat(before)}${"█".repeat(block)}${"░".repeat(width - before - block)}`;
}

/** A bar on a terminal, plain lines elsewhere. */
export function progress(label: string, out: NodeJS.WriteStream = process.stdout): Progress {
  if (!out.isTTY) return plainProgress(label, out);
  const started = performance.now();
  let share: number | undefined;
  let detail = "";
  const bar = new SingleBar({
    stream: out,
    clearOnComplete: true,
    fps: 10,
    format: () => `${label.padEnd(28)} ${drawing(share, started)} ${detail.padEnd(8)} ${seconds(started)}`,
  });
  // It redraws itself ten times per second until it is stopped.
  bar.start(1, 0);
  return {
    update(done, total, note) {
      share = shareOf(done, total);
      detail = note === undefined ? detailOf(done, total) : `${detailOf(done, total)}, ${note}`;
    },
    finish(text) {
      bar.stop();
      out.write(`${label.padEnd(28)} ${text === undefined ? "" : `${text}, `}${seconds(started)}\n`);
    },
    stop: () => bar.stop(),
  };
}

/** Shows a step while some work runs. */
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
