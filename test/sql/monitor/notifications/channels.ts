import type { TestDatabase } from "../../../support/database.ts";

/** The settings of a channel for tests; returns its secret. */
export async function makeChannel(
  database: TestDatabase,
  channel: string,
  { url = "https://receiver.example/hook/k3y", owners = null as string[] | null, least = "warning" } = {},
): Promise<string> {
  return await database.value<string>("select monitor.set_channel($1, $2, $3, $4)", [channel, url, owners, least]);
}

/** Opens an alert, or changes one, as `monitor.watch` does; returns its key. */
export async function transition(
  database: TestDatabase,
  subject: string,
  name: string,
  { severity = "warning", owner = "operator" } = {},
): Promise<number> {
  return await database.value<number>(
    `with alert as (
       insert into monitor.alert (
         source, subject, owner, severity, state, message, fix, opened_at, changed_at, seen_at, resolved_at
       )
       select
         'queue', $1, $4, $3, case $2 when 'resolved' then 'resolved' else 'open' end, 'jobs wait', 'Start a worker.',
         now(), now(), now(), case $2 when 'resolved' then now() end
       where not exists (select from monitor.alert where subject = $1)
       returning alert.*
     ),
     changed as (
       update monitor.alert
       set
         severity = $3,
         owner = $4,
         state = case $2 when 'resolved' then 'resolved' else 'open' end,
         resolved_at = case $2 when 'resolved' then now() end
       where subject = $1
       returning alert.*
     ),
     known as (table alert union all table changed)
     select known.alert_id::int
     from known, lateral monitor._log_transition(row(known.*)::monitor.alert, $2)`,
    [subject, name, severity, owner],
  );
}

export interface Sendable {
  notification_id: string;
  attempt: number;
  channel: string;
  url: string;
  message_id: string;
  sent_at: string;
  signature: string;
  body: string;
}

export const take = (database: TestDatabase, top = 20): Promise<Sendable[]> =>
  database.rows<Sendable>("select * from monitor.take_notifications($1)", [top]);

export const finish = (
  database: TestDatabase,
  { notification_id, attempt }: Sendable,
  error: string | null = null,
  status: number | null = null,
  retryAfter: number | null = null,
): Promise<string | null> =>
  database.value("select monitor.finish_notification($1, $2, $3, $4, $5)", [
    notification_id,
    attempt,
    error,
    status,
    retryAfter,
  ]);

/** Lets time pass, by moving what is stored into the past. */
export const pass = (database: TestDatabase, time: string): Promise<unknown> =>
  database.query(
    `with channels as (
       update monitor.channel
       set retry_at = retry_at - $1::interval, failing_since = failing_since - $1::interval
     ),
     secrets as (
       update monitor.channel_secret set created_at = created_at - $1::interval, expires_at = expires_at - $1::interval
     )
     update monitor.notification
     set
       created_at = created_at - $1::interval,
       next_attempt_at = next_attempt_at - $1::interval,
       leased_until = leased_until - $1::interval,
       finished_at = finished_at - $1::interval`,
    [time],
  );
