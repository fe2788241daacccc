import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import axe from "axe-core";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildPages } from "../../src/dashboard/build.ts";
import { testApi } from "../support/api.ts";
import { chromium as program } from "../support/chromium.ts";
import { testDatabase } from "../support/database.ts";
import { makeWorld } from "../support/world.ts";

/* The pages as each role in a real browser. */

const names = ["learner", "instructor", "analyst", "admin"] as const;
type Name = (typeof names)[number];

describe.skipIf(program === undefined)("in a browser (needs chromium)", async () => {
  const database = await testDatabase();
  await makeWorld(database);
  // A title with markup, and a very long one.
  await database.query(`
    update track.item set title = '<img src=x onerror=alert(1)>' where external_id = 'course-poetry';
    update track.item set title = repeat('Algebra ', 40) where external_id = 'course-algebra';
    create table public.staff (person text, item text, role text);
    insert into public.staff values ('tom', 'course-algebra', 'instructor');
    select track.sync_item_roles('public.staff');
    select recommend.train();
    select experiment.define_metric('views', 'proportion', array['Page Viewed']);
    select experiment.define_experiment(
      '{"key": "resume", "name": "Videos continue", "goals": ["views"], "variations": [{"key": "control"}, {"key": "treatment"}]}'
    );
    select experiment.start('resume');
  `);
  const { url, token } = await testApi(database, { INSIGHTS_GRAPHIQL: "true" });
  const people: Record<Name, string> = { learner: "ada", instructor: "tom", analyst: "eve", admin: "root" };
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: `/usr/bin/${program}`, args: ["--no-sandbox"] });
  }, 60_000);
  afterAll(() => browser?.close());

  /** A page of a role, with everything loaded; `complaints` has the errors of its console. */
  async function open(role: Name | "visitor", path: string, settings: Parameters<Browser["newContext"]>[0] = {}) {
    const context = await browser.newContext(settings);
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("dialog", (dialog) => {
      complaints.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(url) && !request.url().startsWith("data:")) complaints.push(request.url());
    });
    const signIn = role === "visitor" ? "" : `#token=${await token(role, people[role])}`;
    await page.goto(`${url}${path}${signIn}`);
    await page.waitForSelector("h1");
    await expect.poll(() => page.locator(".skeleton, [aria-busy=true]").count(), { timeout: 30_000 }).toBe(0);
    return { page, complaints, close: () => context.close() };
  }

  async function violations(page: Page): Promise<string[]> {
    await page.evaluate(axe.source);
    const { violations } = await page.evaluate<axe.AxeResults>("axe.run()");
    return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
  }

  test.each([
    ["visitor", "/"],
    ["learner", "/"],
    ["learner", "/privacy"],
    ["learner", "/queries"],
    ["instructor", "/courses"],
    ["instructor", "/courses?course=course-algebra&person=ada"],
    ["analyst", "/explore"],
    ["admin", "/explore?view=funnel&step1=Course+Enrolled&step2=Page+Viewed"],
    ["admin", "/explore?view=retention&bucket=day&compare=1"],
    ["admin", "/explore?view=paths&nodes=event"],
    ["analyst", "/explore?view=paths&days=90&breakdown=set.segment"],
    ["admin", "/explore?view=items&days=90&breakdown=set.segment&compare=1"],
    ["analyst", "/explore?view=items"],
    ["analyst", "/explore?view=lifecycle"],
    ["admin", "/explore?view=sessions"],
    ["analyst", "/explore?view=cohorts"],
    ["admin", "/explore?view=timeline&person=ada"],
    ["admin", "/boards"],
    ["analyst", "/experiments"],
    ["admin", "/experiments?experiment=resume"],
    ["analyst", "/overview"],
    ["analyst", "/courses"],
    ["analyst", "/recommendations"],
    ["admin", "/overview?days=7"],
    ["admin", "/courses?course=course-algebra"],
    ["admin", "/recommendations"],
    ["analyst", "/models"],
    ["admin", "/models?project=recommend.course&version=1"],
    ["admin", "/privacy"],
    ["admin", "/operations"],
  ] as const)("%s at %s: no error, no request elsewhere, accessible, no sideways scrolling", async (role, path) => {
    for (const settings of [
      { viewport: { width: 1280, height: 900 } },
      { viewport: { width: 360, height: 740 }, colorScheme: "dark" as const },
    ]) {
      const { page, complaints, close } = await open(role, path, settings);
      expect(await violations(page)).toEqual([]);
      expect(await page.evaluate("document.documentElement.scrollWidth - innerWidth")).toBeLessThanOrEqual(0);
      for (const chart of await page.locator(".chart").all()) {
        await chart.scrollIntoViewIfNeeded();
        await chart.locator("canvas").first().waitFor();
      }
      expect(complaints).toEqual([]);
      await close();
    }
  });

  test("a link signs in, leaves no token in the address, and the page signs out again", async () => {
    const { page, close } = await open("learner", "/");
    expect(await page.textContent("#who")).toBe("ada, learner");
    expect(page.url()).toBe(`${url}/`);
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    expect(await page.evaluate("sessionStorage.getItem('token')")).toBeNull();
    await close();
  });

  test("an invalid token is reported, and a valid one that is pasted signs in", async () => {
    const { page, close } = await open("visitor", "/");
    await page.getByLabel("Token").fill("a.b.c");
    await page.getByRole("button", { name: "Sign in" }).click();
    expect(await page.getByRole("alert").textContent()).toContain("the token is not valid");
    await page.getByLabel("Token").fill(`analyst: ${url}/#token=${await token("analyst", "eve")}`);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { name: "Active people" }).waitFor();
    await close();
  });

  test("figures of the tables are those of the functions; the period is part of the address", async () => {
    const { page, close } = await open("analyst", "/overview?days=90");
    const card = page.getByRole("region", { name: "Popular courses", exact: true });
    await card.getByRole("button", { name: "Table" }).click();
    const shown = await Promise.all(
      (await card.locator("tbody tr").all()).map(async (row) => await row.locator("td").allTextContents()),
    );
    const rows = await database.as("insights_analyst", {}, (db) =>
      db.rows<{ title: string; person_count: string; event_count: string }>(
        "select title, person_count, event_count from analytics.popular_items('course', since => now() - interval '90 days', top => 10)",
      ),
    );
    expect(shown.map(([title, people, events]) => [title, people, events])).toEqual(
      rows.map(({ title, person_count, event_count }) => [title, String(person_count), String(event_count)]),
    );
    await page.getByLabel("Period").selectOption("7");
    await page.waitForURL(/days=7/);
    await card.getByRole("button", { name: "SQL" }).click();
    expect(await card.locator("pre").textContent()).toMatch(/^select rank, .*\nfrom analytics\.popular_items\(/);
    await close();
  });

  test("settings of a view are its address; the figures are those of the function; going back restores the fields", async () => {
    const { page, close } = await open("analyst", "/explore?view=funnel&days=90");
    await page.getByText("Choose at least two events").waitFor();
    await page.getByLabel("Step 1").fill("Course Enrolled");
    await page.getByLabel("Step 2").fill("Page Viewed");
    await page.getByLabel("Step 2").blur();
    await page.waitForURL(/step1=Course\+Enrolled&step2=Page\+Viewed/);
    await page.getByLabel("Order of the steps").selectOption("unordered");
    await page.waitForURL(/order=unordered/);
    const card = page.getByRole("region", { name: "Funnel", exact: true });
    await card.getByRole("button", { name: "Table" }).click();
    await expect.poll(() => card.locator("tbody tr").count()).toBe(2);
    const shown = await card.locator("tbody tr td:nth-child(2)").allTextContents();
    const rows = await database.as("insights_analyst", {}, (db) =>
      db.rows<{ person_count: string }>(
        `select person_count
        from analytics.funnel(
          '[{"event": "Course Enrolled"}, {"event": "Page Viewed"}]', step_order => 'unordered',
          since => now() - interval '90 days'
        )`,
      ),
    );
    expect(rows.length).toBe(2);
    expect(shown).toEqual(rows.map(({ person_count }) => String(person_count)));
    await page.goBack();
    await expect.poll(() => page.getByLabel("Order of the steps").inputValue()).toBe("ordered");
    await page.goBack();
    await expect.poll(() => page.getByLabel("Step 2").inputValue()).toBe("");
    await close();
  });

  test("what the server refuses is shown in place, and what was typed stays", async () => {
    const { page, close } = await open("analyst", "/explore?view=lifecycle");
    await page.getByLabel("Event").fill("Page Veiwed");
    await page.getByLabel("Among these people").fill("segment.power &");
    await page.getByLabel("Among these people").blur();
    const card = page.getByRole("region", { name: "Lifecycle", exact: true });
    const alert = card.getByRole("alert");
    await alert.waitFor();
    expect(await alert.textContent()).toMatch(/Page Veiwed|segment\.power/);
    expect(await page.getByLabel("Event").inputValue()).toBe("Page Veiwed");
    expect(await page.getByLabel("Among these people").inputValue()).toBe("segment.power &");
    expect(await card.locator(".chart").count()).toBe(0);
    await page.getByLabel("Among these people").fill("");
    await page.getByLabel("Event").fill("Page Viewed");
    await page.getByLabel("Event").blur();
    await card.locator(".chart canvas").waitFor();
    await close();
  });

  test("names of events, items and groups are offered, with markup as text", async () => {
    const { page, complaints, close } = await open("analyst", "/explore");
    // The names are loaded beside the figures, without a sign of it on the page.
    await expect.poll(() => page.locator('#events option[value="Page Viewed"]').count()).toBe(1);
    expect(await page.locator('#items option[value="course-poetry"]').textContent()).toContain("<img src=x");
    expect(await page.locator('#sets option[value="segment.power"]').count()).toBe(1);
    expect(complaints).toEqual([]);
    await close();
  });

  test("a note on a day is stored, and drawn on the trend", async () => {
    const { page, close } = await open("analyst", "/explore");
    await page.getByText("Note what has happened on a day").click();
    await page.getByLabel("Title").fill("Release 4.2");
    await page.getByRole("button", { name: "Save the note" }).click();
    await page.getByText("The note is saved").waitFor();
    await page.getByText(/: Release 4\.2$/).waitFor();
    expect(await database.value("select created_by from analytics.annotation")).toBe("eve");
    await database.query("delete from analytics.annotation");
    await close();
  });

  test("a read of a person is logged", async () => {
    const { page, close } = await open("admin", "/explore?view=timeline&person=ben");
    const card = page.getByRole("region", { name: "What ben has done" });
    await card.getByText("Page Viewed").first().waitFor();
    const logged = await database.rows(
      "select from privacy.disclosure where subject_name = 'ben' and read_by = 'root'",
    );
    expect(logged.length).toBeGreaterThan(0);
    await close();
  });

  test("a view is saved, pinned and shared; its link shows it to a colleague only when it is shared", async () => {
    const { page, close } = await open("analyst", "/explore?view=lifecycle&bucket=day");
    await page.getByText("Save this view").click();
    await page.getByLabel("Name", { exact: true }).fill("<b>Lifecycle</b> of the term");
    await page.getByLabel("Board", { exact: true }).fill("Term");
    await page.getByRole("button", { name: "Save the view" }).click();
    await page.getByText("The view is saved.").waitFor();
    const id = await database.value("select view_id from analytics.saved_view where created_by = 'eve'");

    const before = await open("admin", `/boards?id=${id}`);
    await before.page.getByText("There is no such view, or its author has not shared it with you.").waitFor();
    expect(await before.page.textContent("main")).not.toContain("of the term");
    await before.close();

    await page.getByRole("link", { name: "Boards" }).click();
    const pinned = page.getByRole("region", { name: "<b>Lifecycle</b> of the term" });
    await pinned.locator(".chart canvas").first().waitFor();
    await page.getByRole("button", { name: "Share with all analysts" }).click();
    await page.getByText("The view is shared with all analysts").waitFor();

    const after = await open("admin", `/boards?id=${id}`);
    await after.page.waitForURL(/explore\?/);
    expect(await after.page.locator("select[name=bucket]").inputValue()).toBe("day");
    await after.close();

    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await page.getByRole("button", { name: "Delete this view" }).click();
    await page.getByText("The view is deleted.").waitFor();
    expect(await database.rows("select from analytics.saved_view where created_by = 'eve'")).toEqual([]);
    await close();
  });

  test("a card of another page is pinned on a board, alone, with its settings, and without forms", async () => {
    const { page, close } = await open("admin", "/courses?course=course-algebra");
    const form = page.getByRole("form", { name: "Save this view" });
    await page.getByText("Save this view").click();
    await form.getByLabel("Name", { exact: true }).fill("Progress in algebra");
    await form.locator("select[name=card]").selectOption({ label: "Progress" });
    await form.getByLabel("Board", { exact: true }).fill("Term");
    await form.getByRole("button", { name: "Save the view" }).click();
    await page.getByText("The view is saved.").waitFor();
    expect(await database.value("select address from analytics.saved_view where name = 'Progress in algebra'")).toBe(
      "/courses?course=course-algebra&card=CourseProgress",
    );
    await database.query(`
      insert into analytics.saved_view (name, address, is_shared, board, created_by)
      values ('All of the models', '/models', true, 'Term', 'root'), ('The desk', '/privacy', true, 'Term', 'root')`);
    await page.getByRole("link", { name: "Boards" }).click();
    const pinned = page.getByRole("region", { name: "Progress in algebra" });
    await pinned.getByRole("heading", { name: "Progress", exact: true }).waitFor();
    expect(await pinned.locator(".card").count()).toBe(1);
    const models = page.getByRole("region", { name: "All of the models" });
    await models.getByRole("heading", { name: "Comparisons" }).waitFor();
    expect(await models.locator("form").count()).toBe(0);
    expect(await page.getByRole("region", { name: "The desk" }).textContent()).toContain("is not shown on boards");
    expect(await violations(page)).toEqual([]);
    // Figures that the reader may not see are refused by the server, in their place.
    await database.query(
      "update analytics.saved_view set address = '/operations', is_shared = true where name like 'Progress%'",
    );
    const analyst = await open("analyst", "/boards");
    const refused = analyst.page.getByRole("region", { name: "Progress in algebra" });
    await refused.getByRole("alert").first().waitFor();
    await analyst.close();
    await database.query("delete from analytics.saved_view");
    await close();
  });

  test("a trend with a breakdown has the notes, each once", async () => {
    await database.query(`
      insert into analytics.annotation (title, kind, starts_at, created_by)
      values ('Release 4.3', 'release', now() - interval '2 days', 'eve')`);
    const { page, close } = await open("admin", "/explore?event=Page+Viewed&breakdown=item");
    await page.getByText(/^[^;]*: Release 4\.3$/).waitFor();
    await page.getByRole("region", { name: "Page Viewed" }).getByRole("button", { name: "Table" }).click();
    expect(await page.getByRole("cell", { name: "Release 4.3", exact: true }).count()).toBeGreaterThan(0);
    await database.query("delete from analytics.annotation");
    await close();
  });

  test("the calibration of a classifier is that of the registry, with its diagonal and its table", async () => {
    await database.query(
      `create schema lab;
       create table lab.task as
       select id, id % 10 as pages, case when id % 3 = 0 then id % 2 else (id % 10 > 4)::int end as done
       from generate_series(1, 800) as id;
       select ml.train('own.done', 'classification', 'lab.task', 'id', 'done', algorithm => 'logregr')`,
    );
    const { page, complaints, close } = await open("analyst", "/models?project=own.done");
    const card = page.getByRole("region", { name: "Calibration of version 1", exact: true });
    await card.scrollIntoViewIfNeeded();
    await card.locator(".chart canvas").first().waitFor();
    await card.getByRole("button", { name: "Table" }).click();
    const shown = await Promise.all(
      (await card.locator("tbody tr").all()).map(async (row) => await row.locator("td").allTextContents()),
    );
    const percent = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
    const rows = await database.rows<{ mean_predicted: number; fraction_positive: number; row_count: string }>(
      "select mean_predicted, fraction_positive, row_count from ml.calibration order by bin",
    );
    expect(rows.length).toBeGreaterThan(1);
    expect(shown.map((cells) => [cells[2], cells[3], cells[6]])).toEqual(
      rows.map((row) => [percent.format(row.mean_predicted), percent.format(row.fraction_positive), row.row_count]),
    );
    expect(await violations(page)).toEqual([]);
    expect(complaints).toEqual([]);
    await close();
    await database.query("drop schema lab cascade");
  });

  test("a design is computed by the functions, and an experiment is stopped after a question", async () => {
    const { page, close } = await open("admin", "/experiments?effect=0.2&test=welch");
    const [row] = await database.rows<{ size: string[]; power: number }>(`
      select experiment.sample_size('{"type": "proportion", "mean": 0.2}', 0.2, '{"test": "welch", "difference": "relative"}') as size,
        round(100 * experiment.power(
          '{"type": "proportion", "mean": 0.2}', 0.2, array[500, 500], '{"test": "welch", "difference": "relative"}'
        )::numeric, 1)::float8 as power`);
    const card = page.getByRole("region", { name: "People, power and effect", exact: true });
    expect(await card.textContent()).toContain(Number(row?.size[0]).toLocaleString("en"));
    await page.getByLabel("People of each variation", { exact: true }).fill("500");
    await page.getByLabel("People of each variation", { exact: true }).blur();
    await card.getByText(`${row?.power}%`, { exact: true }).waitFor();

    await page.getByRole("button", { name: "Stop the experiment" }).click();
    await page.getByLabel("Reason").fill("It is a test");
    expect(await database.value("select state from experiment.experiment")).toBe("running");
    await page.getByRole("button", { name: "Stop it now" }).click();
    await page.getByRole("cell", { name: "stopped", exact: true }).first().waitFor();
    expect(await database.value("select state from experiment.experiment")).toBe("stopped");
    await close();
  });

  test("a rule is previewed without being stored, set, and removed after a question; why an item is left out", async () => {
    const { page, close } = await open("admin", "/recommendations");
    const stored = () => database.value("select count(*)::int from recommend.rule where name = 'spring'");
    const [first] = await database.as("insights_admin", {}, (db) =>
      db.rows<{ item: string; title: string }>("select item, title from recommend.for_person('ada', 1)"),
    );
    const form = page.getByRole("form", { name: "Try or set a rule" });
    await form.getByLabel("Name", { exact: true }).fill("spring");
    await form.getByLabel("Items, separated by commas").fill(first?.item ?? "");
    await form.getByLabel("Preview for").fill("ada");
    await form.getByRole("button", { name: "Preview" }).click();
    const preview = page.getByRole("region", { name: "The list of ada with this rule", exact: true });
    await preview.getByRole("cell", { name: "left out", exact: true }).waitFor();
    expect(await preview.getByRole("row").last().textContent()).toContain(first?.title);
    expect(await stored()).toBe(0);

    await form.getByRole("button", { name: "Set the rule" }).click();
    await page.getByText("spring applies to the next list.").waitFor();
    expect(await stored()).toBe(1);
    const question = page.getByRole("form", { name: "Why not?" });
    await question.getByLabel("Person").fill("ada");
    await question.getByLabel("Item").fill(first?.item ?? "");
    await question.getByRole("button", { name: "Find the reason" }).click();
    await page.getByRole("cell", { name: "spring", exact: true }).first().waitFor();

    await form.getByRole("button", { name: "Remove the rule of this name" }).click();
    expect(await stored()).toBe(1);
    await form.getByRole("button", { name: "Remove it now" }).click();
    await page.getByText("spring is removed.").waitFor();
    expect(await stored()).toBe(0);
    // A refusal is shown, and the fields stay as they are.
    await form.getByLabel("Action").selectOption("boost");
    await form.getByRole("button", { name: "Set the rule" }).click();
    await page.getByText(/boost/).last().waitFor();
    expect(await form.getByLabel("Name", { exact: true }).inputValue()).toBe("spring");
    expect(await stored()).toBe(0);
    await close();
  });

  test("a version that is chosen is part of the address; its metrics and comparisons are those of the registry", async () => {
    await database.query("select recommend.train()");
    const [model] = await database.rows<{ version: number; metrics: Record<string, number> }>(
      "select version, metrics from ml.model join ml.project using (project_id) where name = 'recommend.course' order by version limit 1",
    );
    const { page, close } = await open("analyst", "/models?project=recommend.course&days=90");
    await page.locator("select[name=version]").selectOption(String(model?.version));
    await page.waitForURL(new RegExp(`version=${model?.version}$`));
    const card = page.getByRole("region", { name: `Metrics and parameters of version ${model?.version}`, exact: true });
    const people = card.getByRole("row").filter({ hasText: /^people/ });
    await people.waitFor();
    expect(await people.locator("td").allTextContents()).toEqual([
      "people",
      String(model?.metrics["people"]),
      "metric",
    ]);
    const compared = page.getByRole("region", { name: "Comparisons", exact: true });
    const rows = await database.rows<{ outcome: string }>(
      "select outcome from ml.comparison join ml.project using (project_id) where name = 'recommend.course' order by comparison_id desc",
    );
    expect(await compared.locator("tbody tr td:last-child").allTextContents()).toEqual(
      rows.map(({ outcome }) => outcome),
    );
    await compared.getByRole("button", { name: "SQL" }).click();
    expect(await compared.locator("pre").textContent()).toMatch(
      /from ml\.comparison\nwhere project_id = \d+\norder by/,
    );
    await close();
  });

  test("an analyst trains a regression by a form, and reads its importances", async () => {
    await database.query(
      `create schema lab;
       create table lab.task as
       select id, id % 10 as pages, id % 7 as attempts, 3 * (id % 10) + id % 7 as minutes
       from generate_series(1, 200) as id;
       grant usage on schema lab to insights_analyst;
       grant select on lab.task to insights_analyst`,
    );
    const { page, close } = await open("analyst", "/models");
    const form = page.getByRole("region", { name: "Train a regression of your own" });
    const fill = (name: string, value: string) => form.locator(`[name=${name}]`).fill(value);
    await fill("project", "own.minutes");
    await fill("source", "lab.task");
    await fill("id", "id");
    await fill("label", "minuts");
    await form.getByRole("button", { name: "Train" }).click();
    await form.getByText('Did you mean "minutes"?').waitFor();
    await fill("label", "minutes");
    await form.getByRole("button", { name: "Train" }).click();
    await form.getByText("It is the first one, and is deployed.").waitFor();
    expect(await form.locator("pre").textContent()).toContain("'own.minutes', 'lab.task', 'id', 'minutes'");
    await page.waitForURL(/project=own\.minutes/);

    const rows = await database.rows<{ share: number }>("select share from ml.importances('own.minutes')");
    const card = page.getByRole("region", { name: "Importances of version 1", exact: true });
    await card.getByRole("button", { name: "Table" }).click();
    await expect.poll(() => card.locator("tbody tr td:first-child").allTextContents()).toEqual(["pages", "attempts"]);
    expect(await card.locator("tbody tr td:last-child").allTextContents()).toEqual(
      rows.map(({ share }) =>
        new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 }).format(share),
      ),
    );
    expect(await violations(page)).toEqual([]);
    await close();
    await database.query("drop schema lab cascade");
  });

  test("another version is deployed after a question, and rolled back", async () => {
    await database.query("select recommend.train()");
    const versions = await database.rows<{ version: number }>("select version from ml.model order by version");
    const deployed = () => database.value("select ml.deployed_version('recommend.course')");
    const [before, other] = [await deployed(), versions[0]?.version];
    await database.query("select ml.deploy('recommend.course', $1)", [versions.at(-1)?.version]);
    const { page, close } = await open("admin", "/recommendations");
    const form = page.getByRole("form", { name: "Deploy" });
    await form.getByLabel("Version").fill(String(other));
    await form.getByRole("button", { name: "Deploy this version" }).click();
    expect(await deployed()).toBe(versions.at(-1)?.version);
    await form.getByRole("button", { name: "Deploy it now" }).click();
    await page.getByText(`Version ${other} of recommend.course is deployed.`).waitFor();
    expect(await deployed()).toBe(other);
    await form.getByRole("button", { name: "Roll back" }).click();
    await form.getByRole("button", { name: "Deploy the former version" }).click();
    await expect.poll(deployed).toBe(versions.at(-1)?.version);
    await database.query("select ml.deploy('recommend.course', $1)", [before]);
    await close();
  });

  test("a teacher's note is stored with its text as text, and removed", async () => {
    const { page, close } = await open("instructor", "/courses?course=course-algebra&person=ada");
    const form = page.getByRole("form", { name: "Note what you did" });
    expect(await form.getByLabel("Learner").inputValue()).toBe("ada");
    await form.getByLabel("Action").selectOption("call");
    await form.getByLabel("Note").fill("<img src=x onerror=alert(1)>");
    await form.getByRole("button", { name: "Store the note" }).click();
    await page.getByText("The note is stored.").waitFor();
    await page.getByRole("cell", { name: "<img src=x onerror=alert(1)>" }).waitFor();
    expect(await database.value("select action from analytics.intervention")).toBe("call");
    const author = await database.value("select created_by from analytics.intervention");
    await database.query("update analytics.intervention set created_by = 'another teacher'");
    await page.getByRole("button", { name: "Remove", exact: true }).click();
    await page.getByRole("alert").filter({ hasText: "The note is not removed" }).waitFor();
    expect(await database.value("select count(*)::int from analytics.intervention")).toBe(1);
    await database.query("update analytics.intervention set created_by = $1", [author]);
    await page.getByRole("button", { name: "Remove", exact: true }).click();
    await expect.poll(() => database.value("select count(*)::int from analytics.intervention")).toBe(0);
    await close();
  });

  test("learners of a course are searched and read page by page, and the address keeps both", async () => {
    const { page, close } = await open("instructor", "/courses?course=course-algebra&after=ada");
    const card = page.getByRole("region", { name: "Learners", exact: true });
    const names = () => card.locator("tbody a").allTextContents();
    const [all] = await database.rows<{ people: string[] }>(
      "select array_agg(coalesce(name, person) order by person) as people from analytics.course_learners('course-algebra')",
    );
    expect(await names()).toEqual(all?.people.slice(1));
    await card.getByRole("link", { name: "First page" }).click();
    await expect.poll(names).toEqual(all?.people);
    await card.getByLabel("Search a name or user id").fill("<b>nobody</b>");
    await card.getByLabel("Search a name or user id").press("Enter");
    await card.getByText("The course has no such learners.").waitFor();
    expect(new URL(page.url()).searchParams.get("search")).toBe("<b>nobody</b>");
    await page.goBack();
    await expect.poll(names).toEqual(all?.people);
    await close();
  });

  test("the table is downloaded as CSV", async () => {
    const { page, close } = await open("analyst", "/overview?days=90");
    const card = page.getByRole("region", { name: "Popular courses", exact: true });
    const [file] = await Promise.all([
      page.waitForEvent("download"),
      card.getByRole("button", { name: "CSV" }).click(),
    ]);
    const text = await readFile(await file.path(), "utf8");
    expect(text.split("\r\n")[0]).toBe("course,people,events,engaged time");
    expect(text).toContain("<img src=x onerror=alert(1)>");
    await close();
  });

  test("what a learner dismisses leaves her list, and is stored", async () => {
    const { page, close } = await open("learner", "/");
    const first = page.locator(".list li").first();
    const title = await first.locator("strong").textContent();
    await first.getByRole("button", { name: "Not interested", exact: true }).click();
    await expect.poll(() => page.locator(".list strong").allTextContents(), { timeout: 30_000 }).not.toContain(title);
    const stored = await database.rows(
      "select from track.event join track.event_type using (event_type_id) where name = 'Recommendation Dismissed'",
    );
    expect(stored).toHaveLength(1);
    await close();
  });

  test("the topic of a course is dismissed", async () => {
    await database.query(
      "update track.item set attributes = attributes || jsonb_build_object('subject', external_id) where kind = 'course'",
    );
    await database.query("select recommend.refresh_lists()");
    const { page, close } = await open("learner", "/");
    const first = page.locator(".list li").first();
    await first.getByRole("button", { name: "Not interested in this topic" }).click();
    await page.getByText("Noted. The next list follows it.").waitFor();
    await expect
      .poll(() =>
        database.value(
          "select count(*)::int from track.event join track.event_type using (event_type_id) where name = 'Topic Dismissed'",
        ),
      )
      .toBe(1);
    await close();
  });

  test("a decision is recorded, a copy of the data is saved, and a request for erasure is opened after a question", async () => {
    const { page, close } = await open("learner", "/privacy");
    const row = page.locator(".list li", { hasText: "personalization" });
    await row.getByRole("button", { name: "Refuse" }).click();
    await page.getByText("Your decision is recorded.").waitFor();
    await expect.poll(() => row.getByRole("button", { name: "Refuse" }).getAttribute("aria-pressed")).toBe("true");
    const [file] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: "Download my data" }).click(),
    ]);
    expect(await readFile(await file.path(), "utf8")).toContain("course-algebra");
    await page.getByRole("button", { name: "Request erasure" }).click();
    expect(await database.value("select count(*) from privacy.request")).toBe("0");
    await page.getByRole("button", { name: "Request it" }).click();
    await page.getByText("Your request is recorded").waitFor();
    expect(await database.value("select kind from privacy.request")).toBe("erasure");
    await close();
    // Without personalization, an answer is not used.
    const list = await open("learner", "/");
    await list.page.locator(".list li").first().getByRole("button", { name: "I like this" }).click();
    await list.page.getByText("Your answer is not used, because of your decisions").waitFor();
    await list.close();
  });

  test("a page of another role is not shown", async () => {
    const { page, close } = await open("learner", "/overview");
    expect(await page.textContent("main")).toContain("There is no such page, or your role has none there.");
    await close();
  });

  test("cards in view are requested first, and the others when those have their figures", async () => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 500 } });
    const page = await context.newPage();
    const requested: string[] = [];
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    await page.route("**/graphql", async (route) => {
      const name = /(?:query|mutation) (\w+)/.exec(route.request().postData() ?? "")?.[1] ?? "";
      requested.push(name);
      if (name === "ActivityByMinute") await held;
      await route.continue();
    });
    await page.goto(`${url}/overview#token=${await token("analyst", people.analyst)}`);
    await expect.poll(() => requested).toContain("ActivityByMinute");
    await page.waitForTimeout(1000);
    expect(requested).not.toContain("HourOfWeek");
    release();
    await expect.poll(() => requested).toContain("HourOfWeek");
    await expect.poll(() => page.locator(".skeleton, [aria-busy=true]").count(), { timeout: 30_000 }).toBe(0);
    await context.close();
  });

  test("a server that is gone is reported, and what was shown stays", async () => {
    const { page, close } = await open("analyst", "/overview");
    await page.route("**/graphql", (route) => route.abort());
    await page.getByLabel("Period").selectOption("7");
    const card = page.getByRole("region", { name: "Page views", exact: true });
    await card.getByText("the server is not reachable").waitFor();
    expect(await card.locator(".chart").count()).toBe(1);
    await close();
  });

  test("without JavaScript the page reports it", async () => {
    const context = await browser.newContext({ javaScriptEnabled: false });
    const page = await context.newPage();
    await page.goto(url);
    expect(await page.textContent("body")).toContain("These pages need JavaScript");
    await context.close();
  });
});

test("the first load is far below 250 kB, and charts are loaded later", async () => {
  const directory = await buildPages();
  const html = await readFile(join(directory, "index.html"), "utf8");
  const sizeOf = async (name: string): Promise<number> => gzipSync(await readFile(join(directory, name))).length;
  const first = [...html.matchAll(/(?:src|href)="\/(assets\/[^"]+)"/g)].map(([, name = ""]) => name);
  expect(first.some((name) => name.includes("echarts"))).toBe(false);
  const scripts = (await readdir(join(directory, "assets"))).filter((name) => name.endsWith(".js"));
  const sizes = await Promise.all(scripts.map(async (name) => ({ name, size: await sizeOf(join("assets", name)) })));
  const sum = (chosen: typeof sizes): number => chosen.reduce((total, { size }) => total + size, 0);
  const isCharts = ({ name }: { name: string }): boolean => name.startsWith("echarts");
  // All pages together, though one load has one of them.
  expect(sum(sizes.filter((file) => !isCharts(file)))).toBeLessThan(80_000);
  expect(sum(sizes.filter(isCharts))).toBeLessThan(225_000);
});
