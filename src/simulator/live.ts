import { setTimeout as wait } from "node:timers/promises";
import type pg from "pg";
import { ingest, type Queryable } from "../importer/deliver.ts";
import type { Message } from "../importer/message.ts";
import { SOURCE } from "./run.ts";

const PERIOD = 10_000;
/** Messages in a statement: readers of the embedded database wait for it. */
const BATCH = 200;

/** Events that are repeated: pages and videos, with the time on them, but nothing that happens once, such as an enrolment. */
const EVENTS = [
  "Page Viewed",
  "Heartbeat",
  "Video Playback Started",
  "Video Content Playing",
  "Video Playback Completed",
];

/*
 * The events of the last simulated week are shifted by whole weeks into the present. The ids of the messages depend on
 * the event and the shift, so that a message that is sent twice is stored once.
 */
const MESSAGES = `
  with span as (
    select
      greatest($1::timestamptz, population.until) as since,
      now() as until,
      ceil(extract(epoch from now() - population.until) / 604800)::int as weeks
    from canvas_flow_truth.population
    where population.finished_at is not null
  )

  select
    case event_type.name when 'Page Viewed' then 'page' else 'track' end as type,
    concat(event.event_id, ' after ', span.weeks, ' weeks') as "messageId",
    case when identity.kind = 'user' then identity.external_id end as "userId",
    case when identity.kind = 'anonymous' then identity.external_id end as "anonymousId",
    event_type.name as event,
    event.occurred_at + span.weeks * interval '168 hours' as timestamp,
    event.properties - 'servingId' || case
      when item.external_id is null then '{}'
      else jsonb_build_object('item', item.external_id)
    end as properties
  from span
  join track.event
    on event.occurred_at >= span.since - span.weeks * interval '168 hours'
    and event.occurred_at < span.until - span.weeks * interval '168 hours'
  join track.event_type on event_type.event_type_id = event.event_type_id
  join track.source on source.source_id = event.source_id
  join track.identity on identity.identity_id = event.identity_id
  left join track.item on item.item_id = event.item_id
  where source.name = $2
    and event_type.name = any ($3)
    and identity.kind in ('user', 'anonymous')
  order by event.occurred_at, event.event_id`;

/** Sends the messages since a time; returns their number. */
export async function sendLive(database: Queryable, since: Date): Promise<number> {
  const { rows } = (await database.query(MESSAGES, [since, SOURCE, EVENTS])) as {
    rows: (Message & { timestamp: Date })[];
  };
  const messages = rows.map(
    ({ userId, anonymousId, event, type, ...message }): Message => ({
      ...message,
      type,
      ...(type === "track" && event !== undefined ? { event } : {}),
      ...(userId ? { userId } : {}),
      ...(anonymousId ? { anonymousId } : {}),
      timestamp: message.timestamp.toISOString(),
    }),
  );
  for (let from = 0; from < messages.length; from += BATCH) {
    await ingest(database, SOURCE, messages.slice(from, from + BATCH));
  }
  return messages.length;
}

/**
 * The people of a simulated platform go on while the demo runs: they do what they did in the last simulated week, at the
 * same minute of the week. `since`: the time after which messages are sent; those that are stored are left out.
 */
export function startLive(pool: pg.Pool, since: Date, onError: (error: unknown) => void): { close(): Promise<void> } {
  const stop = new AbortController();
  const running = (async () => {
    let sent = since;
    while (!stop.signal.aborted) {
      const until = new Date();
      try {
        await sendLive(pool, sent);
        sent = until;
      } catch (error) {
        if (!stop.signal.aborted) onError(error);
      }
      await wait(PERIOD, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  })();
  return {
    async close() {
      stop.abort();
      await running;
    },
  };
}
