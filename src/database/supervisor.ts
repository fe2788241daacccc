import { Worker } from "node:worker_threads";
import { InsightsError } from "../errors.ts";
import { moduleEnding } from "../paths.ts";
import type { ThreadOptions, ThreadReport, ThreadRequest } from "./embedded-thread.ts";
import { type Engine, EngineEnded, type Outcome, type Run } from "./engine.ts";

interface Call {
  reply: (data: Buffer) => void;
  resolve: (answer: Outcome | object[]) => void;
  reject: (error: Error) => void;
}

/**
 * The embedded database in a thread of its own. PostgreSQL's timeouts have no effect in it, so a statement that runs
 * too long is ended with its thread. The database is then opened again, as after a crash: everything acknowledged is
 * preserved.
 */
export class SupervisedEngine implements Engine {
  readonly #options: ThreadOptions;
  readonly #onFailure: (error: Error) => void;
  #generation = 0;
  /** The thread, once it has the database open. */
  #thread: Promise<Worker>;
  #call: Call | undefined;
  #closing = false;

  private constructor(options: ThreadOptions, onFailure: (error: Error) => void) {
    this.#options = options;
    this.#onFailure = onFailure;
    this.#thread = this.#start();
  }

  /** `onFailure` is called when the database ends and cannot be opened again. */
  static async open(options: ThreadOptions, onFailure: (error: Error) => void): Promise<SupervisedEngine> {
    const engine = new SupervisedEngine(options, onFailure);
    await engine.#thread;
    return engine;
  }

  get generation(): number {
    return this.#generation;
  }

  async #start(): Promise<Worker> {
    const thread = new Worker(new URL(`embedded-thread${moduleEnding}`, import.meta.url), {
      workerData: this.#options,
      // Options of the process are not inherited: some of them, such as --input-type, are not valid for files.
      execArgv: [],
    });
    await new Promise<void>((resolve, reject) => {
      let open = false;
      thread.on("message", (report: ThreadReport) => {
        if (report.kind === "open") {
          open = true;
          resolve();
        } else if (report.kind === "unusable") reject(new InsightsError(report.error, { hint: report.hint }));
        else this.#answer(report);
      });
      // "exit" follows.
      thread.on("error", reject);
      thread.on("exit", () => {
        if (open) this.#restart();
        else reject(new Error("the embedded database ended while it was opened"));
      });
    });
    return thread;
  }

  #answer(report: ThreadReport): void {
    const call = this.#call;
    if (call === undefined) return;
    if (report.kind === "data") {
      const { buffer, byteOffset, length } = report.data;
      call.reply(Buffer.from(buffer, byteOffset, length));
      return;
    }
    this.#call = undefined;
    if (report.kind === "done") call.resolve(report.outcome);
    else if (report.kind === "rows") call.resolve(report.rows);
    else if (report.kind === "error") call.reject(Object.assign(new Error(report.error), { code: report.code }));
  }

  /** Opens the database again, unless it is closed, and rejects the pending call. */
  #restart(): void {
    if (!this.#closing) {
      this.#generation++;
      this.#thread = this.#start();
      this.#thread.catch(this.#onFailure);
    }
    const call = this.#call;
    this.#call = undefined;
    call?.reject(new EngineEnded("the embedded database has ended"));
  }

  async #ask<T extends Outcome | object[]>(
    request: ThreadRequest,
    moved: ArrayBuffer[] = [],
    reply: (data: Buffer) => void = () => {},
  ): Promise<T> {
    const thread = await this.#thread;
    if (this.#closing) throw new EngineEnded("the embedded database is closed");
    return await new Promise<T>((resolve, reject) => {
      this.#call = { reply, resolve: resolve as Call["resolve"], reject };
      thread.postMessage(request, moved);
    });
  }

  async run({ bytes, askLimit }: Run, reply?: (data: Buffer) => void): Promise<Outcome> {
    const copy = new Uint8Array(bytes);
    return await this.#ask({ run: { bytes: copy, askLimit } }, [copy.buffer], reply);
  }

  async query<T extends object>(sql: string, values?: unknown[]): Promise<T[]> {
    return await this.#ask<T[]>({ sql, values });
  }

  async interrupt(): Promise<void> {
    await (await this.#thread).terminate();
  }

  /** Ends the thread: with a checkpoint if it is idle, otherwise immediately. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    const thread = await this.#thread;
    if (this.#call !== undefined) {
      await thread.terminate();
      return;
    }
    const exited = new Promise((resolve) => thread.once("exit", resolve));
    thread.postMessage("close" satisfies ThreadRequest);
    await exited;
  }
}
