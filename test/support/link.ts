import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";

/** A network between clients and a server of this machine, with faults. */
export interface Link {
  readonly port: number;
  /** Ends all connections, and refuses new ones for this time (milliseconds). */
  cut(duration: number): Promise<void>;
  /** Neither side receives anything for this time; nothing is lost. */
  silence(duration: number): Promise<void>;
  /** The server receives and carries out what is sent, its answers are lost, and then the connections end. */
  loseAnswers(duration: number): Promise<void>;
  close(): void;
}

export async function openLink(target: number): Promise<Link> {
  const pairs = new Set<readonly [client: Socket, server: Socket]>();
  let state: "open" | "cut" | "silent" | "deaf" = "open";

  const endAll = (): void => {
    for (const pair of pairs) for (const socket of pair) socket.destroy();
  };

  const listener = createServer((client) => {
    if (state === "cut") {
      client.destroy();
      return;
    }
    const server = connect(target, "127.0.0.1");
    const pair = [client, server] as const;
    pairs.add(pair);
    for (const [from, to] of [pair, [server, client] as const]) {
      from.on("data", (data) => {
        if (state === "deaf" && from === server) return;
        to.write(data);
      });
      from.on("end", () => to.end());
      from.on("error", () => to.destroy());
      from.on("close", () => {
        pairs.delete(pair);
        to.destroy();
      });
      if (state === "silent") from.pause();
    }
  }).listen(0, "127.0.0.1");
  await once(listener, "listening");
  const address = listener.address();
  if (address === null || typeof address === "string") throw new Error("no port");

  return {
    port: address.port,
    async cut(duration) {
      state = "cut";
      endAll();
      await wait(duration);
      state = "open";
    },
    async silence(duration) {
      state = "silent";
      for (const pair of pairs) for (const socket of pair) socket.pause();
      await wait(duration);
      state = "open";
      for (const pair of pairs) for (const socket of pair) socket.resume();
    },
    async loseAnswers(duration) {
      state = "deaf";
      await wait(duration);
      endAll();
      state = "open";
    },
    close() {
      endAll();
      listener.close();
    },
  };
}
