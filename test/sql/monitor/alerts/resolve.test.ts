import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { rolesThatMay } from "../../../support/roles.ts";
import { testCheck } from "./problems.ts";

const database = await testDatabase();
const { exist, watch, alert, history } = await testCheck(database);

test("resolves at once; a problem that lasts is opened again by the next watch", async () => {
  await exist([{ subject: "a" }]);
  await watch();
  const id = (await alert("a"))?.alert_id;
  expect(await database.rows("select state, resolved_at is not null as timed from monitor.resolve($1)", [id])).toEqual([
    { state: "resolved", timed: true },
  ]);
  expect(await watch()).toEqual({ findings: 1, reopened: 1, open: 1 });
  expect(await history("a")).toEqual(["opened*", "resolved*", "reopened*"]);
  expect(await alert("a")).toMatchObject({ alert_id: id, state: "open" });
});

test("a resolved or unknown alert is refused", async () => {
  const id = (await alert("a"))?.alert_id;
  await database.query("select monitor.resolve($1, 'done')", [id]);
  expect(await database.rejects("select monitor.resolve($1)", [id])).toMatchObject({ code: "CF010" });
  expect(await database.rejects("select monitor.resolve(null)")).toMatchObject({
    code: "CF002",
    hint: "The table monitor.alert lists the alerts.",
  });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select monitor.resolve(1)")).toEqual(["admin"]);
});
