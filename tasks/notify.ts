import { readConfig } from "../src/config.ts";
import { loggableLine } from "../src/errors.ts";
import { defineTask, emptyPayload } from "../src/worker/define-task.ts";
import { send } from "../src/worker/webhooks/send.ts";

interface Sendable {
  notification_id: string;
  attempt: number;
  channel: string;
  url: string;
  message_id: string;
  sent_at: string;
  signature: string;
  body: string;
}

/** Milliseconds after which a run ends; the next one continues. Attempts end within eleven seconds. */
const longest = 30_000;

/**
 * Sends the notifications of alerts. Each attempt is recorded before it is sent: when the worker is killed in between,
 * the notification is sent again after two minutes, with the same `webhook-id`.
 */
export default defineTask({
  name: "notify",
  payload: emptyPayload,
  async due(_payload, { call }) {
    const [found] = await call<{ any: boolean }>("select monitor.has_notifications() as any");
    return found?.any === true;
  },
  async run(_payload, tools) {
    const hosts = readConfig().webhookHosts;
    const begin = performance.now();
    const counts = new Map<string, number>();
    let attempts = 0;
    while (!tools.stopping && performance.now() - begin < longest) {
      const taken = await tools.call<Sendable>("select * from monitor.take_notifications(20)");
      if (taken.length === 0) break;
      attempts += taken.length;
      const outcomes = await Promise.all(
        taken.map(({ url, body, message_id, sent_at, signature }) =>
          send(
            {
              url,
              body,
              headers: { "webhook-id": message_id, "webhook-timestamp": sent_at, "webhook-signature": signature },
            },
            { hosts },
          ),
        ),
      );
      for (const [index, { notification_id, attempt, channel }] of taken.entries()) {
        const { error, status, retryAfter } = outcomes[index] ?? {};
        const [finished] = await tools
          .call<{ state: string | null }>("select monitor.finish_notification($1, $2, $3, $4, $5) as state", [
            notification_id,
            attempt,
            error,
            status,
            retryAfter,
          ])
          // The others are recorded all the same; this one is sent again after its time.
          .catch((reason: unknown) => {
            console.error(
              `worker: the result of notification ${notification_id} was not recorded: ${loggableLine(reason)}`,
            );
            return [];
          });
        const state = finished?.state ?? "removed";
        counts.set(`${channel} ${state}`, (counts.get(`${channel} ${state}`) ?? 0) + 1);
      }
    }
    return { rows: attempts, detail: Object.fromEntries(counts) };
  },
});
