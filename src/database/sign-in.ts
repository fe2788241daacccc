import { askedLimit } from "./limit.ts";
import { mechanism, ScramServer } from "./scram.ts";
import { authentication, type Inbox, Refused, request, startupParameters } from "./wire.ts";

/** The login of the engine itself, a superuser: for migrations. */
export const administrator = "postgres";
/** The login of all other clients, an ordinary role. */
export const ordinaryLogin = "insights";

/** The request of a client, instead of a startup message, to cancel the statement of another connection. */
export interface CancelRequest {
  process: number;
  secret: number;
}

/**
 * The startup of a connection, up to the authentication of its user. The server implements it itself: PGlite terminates
 * on a packet that it cannot read, and treats every client as the superuser.
 */
export class SignIn {
  readonly #scram: ScramServer | undefined;
  #stage: "startup" | "password" | "proof" | "done" = "startup";
  user = "";
  /** Milliseconds that a statement may run, if the client specifies it. */
  limit: number | undefined;

  /** Without a password, every client that can connect to the socket may sign in. */
  constructor(password: string | undefined) {
    this.#scram = password === undefined ? undefined : new ScramServer(password);
  }

  get done(): boolean {
    return this.#stage === "done";
  }

  /** Processes the messages that have arrived. */
  advance(inbox: Inbox, write: (data: Buffer | string) => void): CancelRequest | undefined {
    while (this.#stage !== "done") {
      if (this.#stage === "startup") {
        const packet = inbox.startup();
        if (packet === undefined) return undefined;
        const code = packet.readInt32BE(4);
        if (code === request.cancel && packet.length >= 16) {
          return { process: packet.readInt32BE(8), secret: packet.readInt32BE(12) };
        }
        this.#begin(code, packet, write);
      } else {
        const body = inbox.password();
        if (body === undefined) return undefined;
        this.#prove(body, write);
      }
    }
    return undefined;
  }

  #begin(code: number, packet: Buffer, write: (data: Buffer | string) => void): void {
    if (code === request.ssl || code === request.gss) {
      write("N");
      return;
    }
    if (code >> 16 !== 3) throw new Error("only version 3 of the PostgreSQL protocol is supported");
    const parameters = startupParameters(packet);
    this.user = parameters.get("user") ?? "";
    this.limit = askedLimit(parameters);
    this.#stage = this.#scram === undefined ? "done" : "password";
    if (this.#scram !== undefined) write(authentication(10, `${mechanism}\0\0`));
  }

  #prove(body: Buffer, write: (data: Buffer) => void): void {
    const wrong = new Refused({
      code: "28P01",
      text: `password authentication failed for user "${this.user.slice(0, 100)}"`,
      hint: "The password is in the file database-password of the data directory.",
    });
    if (this.#stage === "password") {
      // The name of the mechanism, the length of the answer, the answer.
      const end = body.indexOf(0);
      const challenge = this.#scram?.challenge(body.toString("utf8", end + 5));
      if (challenge === undefined || body.toString("utf8", 0, end) !== mechanism) throw wrong;
      write(authentication(11, challenge));
      this.#stage = "proof";
    } else {
      const verified = this.#scram?.verify(body.toString("utf8"));
      if (verified === undefined) throw wrong;
      write(authentication(12, verified));
      this.#stage = "done";
    }
  }
}
