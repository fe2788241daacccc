import type { TestDatabase } from "../../../support/database.ts";

export interface Problem {
  subject: string;
  severity?: "warning" | "critical";
}

/** A check `of_a_test`, whose findings a test decides on. Call it once per database. */
export async function testCheck(database: TestDatabase): Promise<{
  /** The problems that exist from now on; null: the check fails. */
  exist(problems: Problem[] | null): Promise<void>;
  /** One run of `monitor.watch`: numbers of what it did, without zeros. */
  watch(): Promise<Record<string, number | boolean>>;
  /** Moves the times of the alerts into the past, as if this much time had passed. */
  pass(time: string): Promise<void>;
  /** Runs the watch as long as it takes until absent problems are resolved, if they are not reopened ones. */
  settle(): Promise<void>;
  alert(subject: string): Promise<{ alert_id: string; state: string; severity: string } | undefined>;
  /** The history of the alerts of a subject; a star marks transitions that channels are notified of. */
  history(subject: string): Promise<string[]>;
}> {
  await database.query(`
    create table public.problem (subject text, severity text);
    grant select on public.problem to insights_owner;
    create function monitor._check_of_a_test() returns setof monitor.finding language sql stable as $$
      select 'of_a_test', subject, severity, subject || ' is broken', 'Repair it.', 1 / (subject <> 'fail')::int::float8,
        null::float8
      from public.problem
    $$;
    grant execute on function monitor._check_of_a_test() to insights_owner;
    insert into monitor.health_check (health_check, position, function_name, owner, description)
    values ('of_a_test', 1, 'monitor._check_of_a_test', 'team-a', 'A check of a test.');
  `);
  const exist = async (problems: Problem[] | null): Promise<void> => {
    await database.query("truncate public.problem");
    for (const { subject, severity = "warning" } of problems ?? [{ subject: "fail" }]) {
      await database.query("insert into public.problem values ($1, $2)", [subject, severity]);
    }
  };
  const watch = async (): Promise<Record<string, number | boolean>> => {
    const [row = {}] = await database.rows<Record<string, number | boolean>>("select * from monitor.watch()");
    return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== 0 && value !== false));
  };
  const pass = async (time: string): Promise<void> => {
    await database.query(
      `update monitor.alert
       set opened_at = opened_at - $1::interval, changed_at = changed_at - $1::interval,
         seen_at = seen_at - $1::interval, healthy_since = healthy_since - $1::interval,
         resolved_at = resolved_at - $1::interval`,
      [time],
    );
    await database.query(
      "update monitor.alert_silence set since = since - $1::interval, until = until - $1::interval",
      [time],
    );
  };
  return {
    exist,
    watch,
    pass,
    async settle() {
      await watch();
      await watch();
      await pass("6 minutes");
      await watch();
    },
    async alert(subject) {
      const [alert] = await database.rows<{ alert_id: string; state: string; severity: string }>(
        "select alert_id, state, severity from monitor.alert where subject = $1 order by alert_id desc limit 1",
        [subject],
      );
      return alert;
    },
    async history(subject) {
      const rows = await database.rows<{ entry: string }>(
        `select event.transition || case when event.is_notified then '*' else '' end as entry
         from monitor.alert_event as event
         join monitor.alert using (alert_id)
         where alert.subject = $1
         order by event.alert_event_id`,
        [subject],
      );
      return rows.map(({ entry }) => entry);
    },
  };
}
