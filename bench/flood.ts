/*
 * Response times of other clients, and the server's memory, while one address sends ten times as many requests as the
 * server can answer.
 *
 * DATABASE_URL=postgres://… npm exec -- node bench/flood.ts [seconds] [times]
 *
 * Without DATABASE_URL it runs on the embedded database. The API is a process of its own on 127.0.0.1. Its capacity is
 * measured first, without limits of rates: requests of one message, from 32 connections. Then four visitors, each with
 * an address of its own, and two learners send one message at a time, together a fifth of the capacity: alone, and
 * during the flood. The flood does not wait for answers; it opens a new connection when all of its connections wait for
 * one. It shares the machine's cores with the server, so that a part of what it costs is the flood itself.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { Agent, request } from "node:http";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { signToken } from "../src/api/authentication.ts";
import { packageRoot } from "../src/paths.ts";
import { benchDatabase } from "./database.ts";

let messages = 0;

function body(anonymousId: string, userId?: string): string {
  messages += 1;
  return JSON.stringify({
    query: "mutation ($batch: JSON!) { trackIngest(input: {batch: $batch}) { result { accepted } } }",
    variables: {
      batch: [
        {
          type: "track",
          messageId: `${process.pid} ${randomBytes(4).toString("hex")} ${messages}`,
          event: "Lesson Opened",
          ...(userId === undefined ? { anonymousId } : { userId }),
        },
      ],
    },
  });
}

interface Flood {
  port: number;
  /** Requests per second. */
  rate: number;
}

/** The thread of the flood: until it is stopped; then the numbers of requests sent and of answers by status. */
function flood({ port, rate }: Flood): void {
  const most = 3000;
  const idle: Socket[] = [];
  const told: Record<string, number> = { sent: 0, "not sent: too many connections": 0 };
  const add = (what: string): void => {
    told[what] = (told[what] ?? 0) + 1;
  };
  let open = 0;
  const text = body("flood");
  const bytes = `POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
  const post = (): void => {
    let socket = idle.pop();
    if (socket === undefined) {
      if (open >= most) {
        add("not sent: too many connections");
        return;
      }
      open += 1;
      const fresh = connect({ port, host: "127.0.0.1" });
      fresh
        .on("error", () => {})
        .on("data", (data) => {
          const status = /^HTTP\/1.1 (\d+)/.exec(data.toString("latin1", 0, 20))?.[1];
          if (status === undefined) return;
          add(status);
          idle.push(fresh);
        })
        .on("close", () => {
          open -= 1;
          const index = idle.indexOf(fresh);
          if (index >= 0) idle.splice(index, 1);
        });
      socket = fresh;
    }
    add("sent");
    socket.write(bytes);
  };
  const began = performance.now();
  let wanted = 0;
  const timer = setInterval(() => {
    const until = ((performance.now() - began) / 1000) * rate;
    for (; wanted < until; wanted += 1) post();
  }, 5);
  parentPort?.once("message", () => {
    clearInterval(timer);
    parentPort?.postMessage(told);
    process.exit();
  });
}

async function startApi(
  database: string,
  pooler: boolean,
  variables: Record<string, string>,
): Promise<{ child: ChildProcess; port: number }> {
  const child = spawn(process.execPath, [join(packageRoot, "src/cli.ts"), "api"], {
    env: { DATABASE_URL: database, INSIGHTS_POOLER: String(pooler), PORT: "0", ...variables },
    stdio: ["ignore", "pipe", "ignore"],
  });
  for await (const line of child.stdout) {
    const port = /http:\S+:(\d+)\/graphql/.exec(String(line))?.[1];
    if (port !== undefined) return { child, port: Number(port) };
  }
  throw new Error("the API did not start");
}

const stop = async ({ child }: { child: ChildProcess }): Promise<void> => {
  child.kill();
  await once(child, "exit");
};

/** Megabytes of memory of a process, on Linux. */
async function memoryOf({ pid }: ChildProcess): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? Number.NaN) / 1000;
}

interface Client {
  agent: Agent;
  address: string;
  headers: Record<string, string>;
  body: () => string;
}

async function post(port: number, client: Client): Promise<{ milliseconds: number; answer: string }> {
  const text = client.body();
  const began = performance.now();
  try {
    const sent = request({
      port,
      host: "127.0.0.1",
      path: "/graphql",
      method: "POST",
      agent: client.agent,
      localAddress: client.address,
      headers: { "content-type": "application/json", "content-length": text.length, ...client.headers },
    });
    sent.end(text);
    const [response] = (await once(sent, "response")) as [import("node:http").IncomingMessage];
    let told = "";
    for await (const chunk of response) told += String(chunk);
    const accepted = response.statusCode === 200 && told.includes('"accepted":');
    return {
      milliseconds: performance.now() - began,
      answer: accepted ? "accepted" : `${response.statusCode} ${/"code":"(\w+)"/.exec(told)?.[1]}`,
    };
  } catch (error) {
    return { milliseconds: performance.now() - began, answer: String(error) };
  }
}

interface Run {
  /** Milliseconds by group of clients. */
  times: Record<string, number[]>;
  /** Highest memory of the server, in megabytes. */
  memory: number;
  /** Numbers of answers. */
  answers: Record<string, number>;
}

const at = (times: readonly number[], part: number): number =>
  [...times].sort((a, b) => a - b)[Math.floor(part * (times.length - 1))] ?? Number.NaN;

async function main(seconds: number, times: number): Promise<void> {
  const { client, url, embedded, name, close } = await benchDatabase();
  await client.query("select track.ingest($1)", [
    JSON.stringify([{ type: "track", messageId: "first", userId: "learner 1", event: "Lesson Opened" }]),
  ]);
  const secret = randomBytes(32).toString("hex");
  const visitorOf = (address: string): Client => ({
    agent: new Agent({ keepAlive: true }),
    address,
    headers: {},
    body: () => body(`browser of ${address}`),
  });

  const unlimited = await startApi(url, embedded, { INSIGHTS_JWT_SECRET: secret, INSIGHTS_ADDRESS_RATE: "1000000" });
  let answered = 0;
  const loops = Array.from({ length: 32 }, () => visitorOf("127.0.0.1"));
  const measure = async (duration: number): Promise<number> => {
    answered = 0;
    const end = performance.now() + duration;
    await Promise.all(
      loops.map(async (loop) => {
        while (performance.now() < end) if ((await post(unlimited.port, loop)).answer === "accepted") answered += 1;
      }),
    );
    return (answered * 1000) / duration;
  };
  await measure(2000);
  const capacity = await measure(5000);
  await stop(unlimited);

  const api = await startApi(url, embedded, { INSIGHTS_JWT_SECRET: secret });
  const learnerOf = async (person: string): Promise<Client> => ({
    agent: new Agent({ keepAlive: true }),
    address: "127.0.0.1",
    headers: { authorization: `Bearer ${await signToken({ role: "learner", person, source: undefined }, { secret })}` },
    body: () => body("", person),
  });
  const groups: Record<string, Client[]> = {
    visitors: [2, 3, 4, 5].map((last) => visitorOf(`127.0.0.${last}`)),
    learners: [await learnerOf("learner 1"), await learnerOf("learner 2")],
  };

  // Below the limit of the rate of an address.
  const pause = Math.max(50, (6 * 1000) / (capacity / 5));

  /** Sends at the planned times, whether or not the last answer has come. */
  async function run(duration: number): Promise<Run> {
    const times: Record<string, number[]> = {};
    const answers: Record<string, number> = {};
    let memory = 0;
    const end = performance.now() + duration;
    const watch = async (): Promise<void> => {
      for (; performance.now() < end; await wait(200)) memory = Math.max(memory, await memoryOf(api.child));
    };
    const drive = async (group: string, one: Client): Promise<void> => {
      const running: Promise<void>[] = [];
      await wait(Math.random() * pause);
      for (let next = performance.now(); next < end; next += pause) {
        await wait(Math.max(0, next - performance.now()));
        running.push(
          post(api.port, one).then(({ milliseconds, answer }) => {
            answers[answer] = (answers[answer] ?? 0) + 1;
            times[group] ??= [];
            times[group].push(milliseconds);
          }),
        );
      }
      await Promise.all(running);
    };
    await Promise.all([
      watch(),
      ...Object.entries(groups).flatMap(([group, clients]) => clients.map((one) => drive(group, one))),
    ]);
    return { times, memory, answers };
  }

  try {
    console.log(`${name}; capacity: ${capacity.toFixed(0)} requests per second`);
    await run(3000);
    await wait(1000);
    const alone = await run(seconds * 1000);
    const rate = capacity * times;
    const worker = new Worker(new URL(import.meta.url), { workerData: { port: api.port, rate } satisfies Flood });
    await wait(2000);
    const beside = await run(seconds * 1000);
    worker.postMessage("end");
    const [told] = (await once(worker, "message")) as [Record<string, number>];
    for (const group of Object.keys(groups)) {
      for (const [label, { times: measured }] of [
        ["alone", alone],
        ["during the flood", beside],
      ] as const) {
        const list = measured[group] ?? [];
        const [half, most] = [0.5, 0.99].map((part) => `${at(list, part).toFixed(1).padStart(7)} ms`);
        console.log(`${group.padEnd(9)} ${label.padEnd(17)} p50 ${half}   p99 ${most}   of ${list.length}`);
      }
      const ratio = (part: number): string =>
        (at(beside.times[group] ?? [], part) / at(alone.times[group] ?? [], part)).toFixed(2).padStart(7);
      console.log(`${group.padEnd(9)} ${"times".padEnd(17)} p50 ${ratio(0.5)}      p99 ${ratio(0.99)}`);
    }
    console.log(`answers   ${JSON.stringify(alone.answers)} alone, ${JSON.stringify(beside.answers)} during the flood`);
    const grown = (beside.memory / alone.memory).toFixed(2);
    console.log(
      `memory    ${alone.memory.toFixed(0)} MB alone, ${beside.memory.toFixed(0)} MB during the flood: ${grown} times`,
    );
    console.log(`flood     ${rate.toFixed(0)} per second for ${seconds + 2} s: ${JSON.stringify(told)}`);
  } finally {
    await stop(api);
    await close();
  }
  process.exit();
}

if (isMainThread) await main(Number(process.argv[2] ?? 10), Number(process.argv[3] ?? 10));
else flood(workerData as Flood);
