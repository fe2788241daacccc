import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { CompactSign, exportJWK, generateKeyPair } from "jose";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";

/* Formats of learning platforms: Caliper, with examples in the form of its specification, and Live Events of Canvas. */

const database = await testDatabase();
const { url } = await testApi(database);
const key = await database.value<string>("select write_key from track.create_write_key('platform', 'server')");
const send = async (path: string, body: unknown, headers: Record<string, string>) => {
  const response = await fetch(url + path, {
    method: "POST",
    headers,
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  return [response.status, await response.text()];
};
const stored = () =>
  database.rows(
    `select event_type.name as event, identity.external_id as who, item.external_id as item, parent.external_id as parent,
       event.properties - '{itemTitle,itemKind,item,parent}'::text[] as properties
     from track.event
     join track.event_type using (event_type_id)
     join track.identity using (identity_id)
     left join track.item using (item_id)
     left join track.item as parent on parent.item_id = item.parent_item_id
     order by event.occurred_at, event.event_id`,
  );
beforeEach(() => database.query("delete from track.event"));

describe("Caliper", () => {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const person = "https://example.edu/users/554433";
  let count = 0;
  const event = (type: string, action: string, fields: object) => {
    count += 1;
    return {
      "@context": "http://purl.imsglobal.org/ctx/caliper/v1p1",
      id: `urn:uuid:3a648e68-f00d-4c08-aa59-8738e1884f${String(count).padStart(2, "0")}`,
      type,
      actor: { id: person, type: "Person" },
      action,
      eventTime: `2026-03-01T10:15:${String(count).padStart(2, "0")}.000Z`,
      ...fields,
    };
  };
  const envelope = (data: unknown[], version = "http://purl.imsglobal.org/ctx/caliper/v1p1") => ({
    sensor: "https://example.edu/sensors/1",
    sendTime: "2026-03-01T11:05:01.000Z",
    dataVersion: version,
    data,
  });
  const section = "https://example.edu/terms/201601/courses/7/sections/1";

  test("an envelope of events and of a described entity, also of another version", async () => {
    const quiz = { id: `${section}/assess/1`, type: "Assessment", name: "Quiz One" };
    const data = [
      event("AssessmentEvent", "Started", {
        object: quiz,
        generated: { id: `${section}/assess/1/users/554433/attempts/1`, type: "Attempt", count: 1 },
        group: { id: section, type: "CourseSection" },
      }),
      event("MediaEvent", "Paused", {
        object: { id: "https://example.edu/videos/1", type: "VideoObject" },
        target: { id: "https://example.edu/videos/1#t=710", type: "MediaLocation", currentTime: "PT11M50S" },
      }),
      event("NavigationEvent", "NavigatedTo", {
        object: { id: "https://example.edu/pages/2", type: "WebPage", name: "Learning Analytics" },
      }),
      event("GradeEvent", "Graded", {
        actor: { id: "https://example.edu/autograder", type: "SoftwareApplication" },
        object: { id: "https://example.edu/a/1", type: "Attempt", assignee: person, assignable: quiz.id, count: 1 },
        generated: { id: "https://example.edu/a/1/scores/1", type: "Score", maxScore: 15, scoreGiven: 12 },
      }),
      event("ForumEvent", "Subscribed", { object: { id: "https://example.edu/forums/1", type: "Forum" } }),
      { id: person, type: "Person", dateCreated: "2026-02-01T00:00:00.000Z" },
    ];
    expect(await send("/caliper", envelope(data, "http://purl.imsglobal.org/ctx/caliper/v9p9"), headers)).toEqual([
      200,
      "",
    ]);
    expect(await stored()).toEqual([
      { event: "Task Started", who: person, item: quiz.id, parent: section, properties: { attempt: 1 } },
      {
        event: "Video Playback Paused",
        who: person,
        item: "https://example.edu/videos/1",
        parent: null,
        properties: { position: 710 },
      },
      { event: "Page Viewed", who: person, item: "https://example.edu/pages/2", parent: null, properties: {} },
      {
        event: "Task Graded",
        who: person,
        item: quiz.id,
        parent: section,
        properties: { attempt: 1, score: 0.8, grader: "https://example.edu/autograder" },
      },
      { event: "Forum Subscribed", who: person, item: "https://example.edu/forums/1", parent: null, properties: {} },
    ]);
    // Delivered again: stored once.
    expect(await send("/caliper", envelope(data), headers)).toEqual([200, ""]);
    expect(await stored()).toHaveLength(5);
  });

  test.each([
    ["no envelope", {}],
    ["a list", []],
    ["without a sensor", { ...envelope([]), sensor: undefined }],
    ["with data that is an object", { ...envelope([]), data: {} }],
  ])("%s is 400", async (_name, body) => {
    expect((await send("/caliper", body, headers))[0]).toBe(400);
  });

  test("with another token 401", async () => {
    expect((await send("/caliper", envelope([]), { authorization: "Bearer no" }))[0]).toBe(401);
    expect((await send("/caliper", envelope([]), {}))[0]).toBe(401);
  });
});

describe("Live Events of Canvas", () => {
  const headers = {
    authorization: `Basic ${Buffer.from(`${key}:`).toString("base64")}`,
    "content-type": "application/json",
  };
  let count = 0;
  const event = (name: string, body: object, metadata: object = {}) => {
    count += 1;
    return {
      metadata: {
        event_name: name,
        event_time: `2026-03-02T10:15:${String(count).padStart(2, "0")}.000Z`,
        user_id: "21070000000000098",
        context_type: "Course",
        context_id: "21070000000000565",
        request_id: `r${count}`,
        ...metadata,
      },
      body,
    };
  };

  test("each kind, delivered twice and stored once", async () => {
    const sent = [
      event("asset_accessed", { asset_type: "wiki_page", asset_id: "17", asset_name: "Fractions" }),
      event("submission_created", {
        user_id: "21070000000000098",
        assignment_id: "21070000000000371",
        attempt: 2,
        late: false,
      }),
      event(
        "grade_change",
        {
          student_id: "21070000000000098",
          assignment_id: "21070000000000371",
          grader_id: "21070000000000001",
          score: 8,
          points_possible: 10,
          old_score: null,
        },
        { user_id: "21070000000000001" },
      ),
      event(
        "enrollment_created",
        { user_id: "21070000000000099", course_id: "21070000000000565", workflow_state: "active" },
        { user_id: "21070000000000001" },
      ),
      event("wiki_page_updated", { wiki_page_id: "17" }, { real_user_id: "21070000000000001" }),
    ];
    for (const one of [...sent, ...sent]) expect(await send("/canvas", one, headers)).toEqual([200, ""]);
    expect(await stored()).toEqual([
      {
        event: "Page Viewed",
        who: "21070000000000098",
        item: "wiki_page:17",
        parent: "course:21070000000000565",
        properties: {},
      },
      {
        event: "Task Submitted",
        who: "21070000000000098",
        item: "assignment:21070000000000371",
        parent: "course:21070000000000565",
        properties: { attempt: 2, late: false },
      },
      {
        event: "Task Graded",
        who: "21070000000000098",
        item: "assignment:21070000000000371",
        parent: "course:21070000000000565",
        properties: { score: 0.8, grader: "21070000000000001" },
      },
      {
        event: "Course Enrolled",
        who: "21070000000000099",
        item: "course:21070000000000565",
        parent: null,
        properties: { status: "active" },
      },
      { event: "Wiki Page Updated", who: "21070000000000001", item: null, parent: null, properties: {} },
    ]);
  });

  test("a signed payload", async () => {
    const claims = Buffer.from(JSON.stringify(event("logged_in", {}))).toString("base64url");
    expect(await send("/canvas", `eyJhbGciOiJSUzI1NiJ9.${claims}.c2ln`, headers)).toEqual([200, ""]);
    expect(await stored()).toMatchObject([{ event: "Signed In", who: "21070000000000098" }]);
  });

  describe("with the keys of Canvas", async () => {
    const pairOf = async (kid: string) => ({ kid, ...(await generateKeyPair("RS256")) });
    const [present, former, other] = [await pairOf("present"), await pairOf("former"), await pairOf("other")];
    let isAway = false;
    const keys = createServer(async (_request, response) => {
      const list = [present, former].map(async (pair) => ({
        ...(await exportJWK(pair.publicKey)),
        kid: pair.kid,
        alg: "RS256",
      }));
      if (isAway) response.writeHead(500).end();
      else response.end(JSON.stringify({ keys: await Promise.all(list) }));
    });
    await once(keys.listen(0, "127.0.0.1"), "listening");
    afterAll(() => keys.close());
    const { port } = keys.address() as AddressInfo;
    const strict = await testApi(database, { INSIGHTS_CANVAS_JWKS_URL: `http://127.0.0.1:${port}/jwks` });
    const sign = (pair: typeof present, payload: unknown): Promise<string> =>
      new CompactSign(new TextEncoder().encode(JSON.stringify(payload)))
        .setProtectedHeader({ alg: "RS256", kid: pair.kid })
        .sign(pair.privateKey);
    const post = async (body: string): Promise<[number, string | undefined]> => {
      const response = await fetch(`${strict.url}/canvas`, { method: "POST", headers, body });
      const text = await response.text();
      return [response.status, text === "" ? undefined : JSON.parse(text).errors[0].extensions.code];
    };

    test("an event that is signed by the present or the former key is stored, once", async () => {
      const [one, two] = [event("logged_in", { by: 1 }), event("logged_in", { by: 2 })];
      for (const body of [await sign(present, one), await sign(former, two), await sign(present, two)]) {
        expect(await post(body)).toEqual([200, undefined]);
      }
      expect(await stored()).toHaveLength(2);
    });

    test("others are refused, and nothing of them is stored", async () => {
      const payload = event("logged_in", {});
      const signed = await sign(present, payload);
      const [header = "", , signature = ""] = signed.split(".");
      const claims = Buffer.from(JSON.stringify(event("logged_out", {}))).toString("base64url");
      const none = Buffer.from(JSON.stringify({ alg: "none" })).toString("base64url");
      const secret = Buffer.from(JSON.stringify({ alg: "HS256", kid: present.kid })).toString("base64url");
      for (const body of [
        JSON.stringify(payload),
        await sign(other, payload),
        `${header}.${claims}.${signature}`,
        `${header}.${claims}.`,
        `${none}.${claims}.`,
        `${secret}.${claims}.${signature}`,
      ]) {
        expect(await post(body)).toEqual([401, "CF005"]);
      }
      expect(await stored()).toEqual([]);
    });

    test("while the keys cannot be fetched, the answer is 503, so that Canvas sends it again", async () => {
      const { url: away } = await testApi(database, { INSIGHTS_CANVAS_JWKS_URL: `http://127.0.0.1:${port}/jwks` });
      isAway = true;
      const body = await sign(present, event("logged_in", {}));
      const response = await fetch(`${away}/canvas`, { method: "POST", headers, body });
      isAway = false;
      expect([response.status, response.headers.has("retry-after")]).toEqual([503, true]);
    });
  });

  test.each([
    ["another format", { batch: [] }],
    ["a list", []],
    ["a text", "eyJhb.aGVsbG8.c2ln"],
  ])("%s is 400", async (_name, body) => {
    expect((await send("/canvas", body, headers))[0]).toBe(400);
  });
});
