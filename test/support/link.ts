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

interface Connection {
  readonly client: Socket;
  readonly server: Socket;
  /** Whether its answers are lost: also later ones, since a part of a stream cannot be missing. */
  losesAnswers: boolean;
}

export async function openLink(target: number): Promise<Link> {
  const connections = new Set<Connection>();
  /** How many faults of each kind there are at present: they may overlap. */
  const present = { cut: 0, silent: 0, losing: 0 };

  const endAll = (of: (connection: Connection) => boolean = () => true): void => {
    for (const connection of connections) {
      if (!of(connection)) continue;
      connection.client.destroy();
      connection.server.destroy();
    }
  };

  const listener = createServer((client) => {
    if (present.cut > 0) {
      client.destroy();
      return;
    }
    const server = connect(target, "127.0.0.1");
    const connection = { client, server, losesAnswers: present.losing > 0 };
    connections.add(connection);
    for (const [from, to] of [[client, server] as const, [server, client] as const]) {
      from.on("data", (data) => {
        if (from === client || !connection.losesAnswers) to.write(data);
      });
      from.on("end", () => to.end());
      from.on("error", () => to.destroy());
      from.on("close", () => {
        connections.delete(connection);
        to.destroy();
      });
      if (present.silent > 0) from.pause();
    }
  }).listen(0, "127.0.0.1");
  await once(listener, "listening");
  const address = listener.address();
  if (address === null || typeof address === "string") throw new Error("no port");

  return {
    port: address.port,
    async cut(duration) {
      present.cut += 1;
      endAll();
      await wait(duration);
      present.cut -= 1;
    },
    async silence(duration) {
      present.silent += 1;
      for (const { client, server } of connections) for (const socket of [client, server]) socket.pause();
      await wait(duration);
      present.silent -= 1;
      if (present.silent > 0) return;
      for (const { client, server } of connections) for (const socket of [client, server]) socket.resume();
    },
    async loseAnswers(duration) {
      present.losing += 1;
      for (const connection of connections) connection.losesAnswers = true;
      await wait(duration);
      present.losing -= 1;
      endAll(({ losesAnswers }) => losesAnswers);
    },
    close() {
      endAll();
      listener.close();
    },
  };
}
