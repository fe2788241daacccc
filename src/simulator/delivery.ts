import type { Message } from "../importer/message.ts";
import type { Session } from "./behaviour.ts";
import type { Random } from "./random.ts";

/** How often a delivery from a client to the server fails. */
export const RATES = {
  /** Sessions without a network, whose messages arrive together hours later. */
  offline: 0.02,
  /** Batches sent again within a minute, because the response was lost. */
  repeated: 0.015,
  /** Batches sent again hours later, from a client's local storage. */
  repeatedLate: 0.003,
} as const;

/** A client sends its messages when it has twenty, or half a minute after the first of them. */
const BATCH_SIZE = 20;
const BATCH_AGE = 30_000;

/** Messages that reach the server in one request. */
export interface Delivery {
  receivedAt: number;
  messages: Message[];
}

/**
 * The deliveries of a session as the server receives them: in batches, with the times of the device's clock, some late,
 * some twice, none after `end`.
 */
export function deliver(session: Session, end: number, random: Random): Delivery[] {
  const { occurrences, device, person } = session;
  const ordered = occurrences.toSorted((a, b) => a.at - b.at);
  const reconnects = random.chance(RATES.offline) ? session.endedAt + Math.round(random.exponential(8 * 3_600_000)) : 0;
  const deliveries: Delivery[] = [];
  const send = (batch: typeof ordered, sentAt: number): void => {
    const receivedAt = sentAt + Math.round(random.logNormal(120, 0.6));
    if (receivedAt >= end) return;
    const messages = batch.map(
      ({ at, signedIn, messageId, body }): Message => ({
        ...body,
        messageId,
        anonymousId: device.anonymousId,
        ...(signedIn && person !== null ? { userId: person } : {}),
        timestamp: new Date(at + device.skew).toISOString(),
        sentAt: new Date(sentAt + device.skew).toISOString(),
        receivedAt: new Date(receivedAt).toISOString(),
      }),
    );
    deliveries.push({ receivedAt, messages });
  };

  let batch: typeof ordered = [];
  for (const [index, occurrence] of ordered.entries()) {
    batch.push(occurrence);
    const following = ordered[index + 1];
    const first = batch[0] ?? occurrence;
    if (following !== undefined && batch.length < BATCH_SIZE && following.at - first.at < BATCH_AGE) continue;
    const sentAt = Math.max(reconnects, occurrence.at + random.integer(20, 1_000));
    send(batch, sentAt);
    if (random.chance(RATES.repeated)) send(batch, sentAt + random.integer(2_000, 60_000));
    if (random.chance(RATES.repeatedLate)) send(batch, sentAt + Math.round(random.exponential(6 * 3_600_000)));
    batch = [];
  }
  return deliveries;
}
