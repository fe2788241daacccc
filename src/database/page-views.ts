import pg from "pg";
import { inTurn, type LockWait, withLockRetries } from "./release.ts";

/*
 * Page views are part of the rows of track.session. A release of an earlier database renames the table that contained
 * them to track.stored_page_view, which the view track.page_view then reads as well. The rows are moved into the sessions
 * here, some people at a time, each time in a transaction of its own: a page view is in one of the two at any moment, an
 * interrupted run continues where it was, and a refresh moves the page views of its people itself.
 */

const remains = "select pg_catalog.to_regclass('track.stored_page_view') is not null as remains";

/** Whether there are page views of an earlier version that are not in the sessions yet. */
export async function hasStoredPageViews(client: pg.ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ remains: boolean }>(remains);
  return rows[0]?.remains === true;
}

/** About a second of work. */
const peopleAtOnce = 500;

const convert = `
  select track._convert_page_views(array(
    select distinct person_id from track.stored_page_view order by person_id limit ${peopleAtOnce}
  ))::float8 as converted
`;

/** The view without the table: it keeps its comments and grants. */
const finish = `
  do $$
  begin
    if to_regclass('track.stored_page_view') is null then
      return;
    end if;
    execute 'create or replace view track.page_view with (security_invoker = true) as '
      || pg_get_viewdef('track.page_view_of_sessions'::regclass);
    drop view track.page_view_of_sessions;
    lock table track.stored_page_view in access exclusive mode;
    if exists (select from track.stored_page_view) then
      raise exception 'track.stored_page_view still has rows';
    end if;
    drop table track.stored_page_view;
  end;
  $$
`;

/** Moves the page views of an earlier version into the sessions; returns their number. */
export async function convertPageViews(url: string, client: pg.ClientBase, lockWait: LockWait): Promise<number> {
  if (!(await hasStoredPageViews(client))) return 0;
  // On a connection of its own, without the timeouts that are set for the login or the database.
  const worker = new pg.Client({ connectionString: url, application_name: "canvas-flow-insights" });
  worker.on("error", () => {});
  await worker.connect();
  try {
    await worker.query("set statement_timeout to 0");
    let total = 0;
    // A refresh, or another migration, may move the last ones.
    while (await hasStoredPageViews(worker)) {
      let converted = 0;
      await inTurn(worker, 0, async () => {
        if (!(await hasStoredPageViews(worker))) return;
        const { rows } = await worker.query<{ converted: number }>(convert);
        converted = rows[0]?.converted ?? 0;
      });
      total += converted;
      if (converted > 0) continue;
      await withLockRetries(url, worker, "the removal of track.stored_page_view", lockWait, (lockTimeout) =>
        inTurn(
          worker,
          lockTimeout,
          () => worker.query(finish),
          // No refresh is then between its look for the table and its use. No table is locked while this waits.
          async () => {
            await worker.query("select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('track.refresh'))");
          },
        ),
      );
    }
    return total;
  } finally {
    await worker.end();
  }
}
