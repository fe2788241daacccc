import { describe, expect, test } from "vitest";
import { BusyError, createGate, type Gate } from "../../src/api/connections.ts";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { makeWorld } from "../support/world.ts";

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Admits requests one after another, and records the order of their turns. */
function crowd(gate: Gate) {
  const started: string[] = [];
  const leave = new Map<string, () => void>();
  const refused: string[] = [];
  return {
    started,
    refused,
    async enter(...names: string[]) {
      for (const name of names) {
        const [role = "", person = ""] = name.split(":");
        gate.enter(`insights_${role}`, person).then(
          (end) => {
            started.push(name);
            leave.set(name, end);
          },
          (error: unknown) => refused.push(error instanceof BusyError ? name : String(error)),
        );
        await tick();
      }
    },
    async leave(...names: string[]) {
      for (const name of names) {
        leave.get(name)?.();
        await tick();
      }
    },
  };
}

const times = (count: number, name: (index: number) => string): string[] =>
  Array.from({ length: count }, (_, index) => name(index));

describe("a share of the pool", () => {
  test.each([
    [1, { visitor: 1, learner: 1, instructor: 1, analyst: 1, worker: 1, admin: 1 }],
    [2, { visitor: 1, learner: 1, instructor: 1, analyst: 1, worker: 1, admin: 2 }],
    [3, { visitor: 1, learner: 1, instructor: 1, analyst: 2, worker: 2, admin: 3 }],
    [4, { visitor: 1, learner: 2, instructor: 2, analyst: 3, worker: 3, admin: 4 }],
    [10, { visitor: 2, learner: 5, instructor: 5, analyst: 9, worker: 9, admin: 10 }],
    [40, { visitor: 10, learner: 20, instructor: 20, analyst: 39, worker: 39, admin: 40 }],
  ])("of %i connections, by role", async (size, shares) => {
    for (const [role, share] of Object.entries(shares)) {
      const { started, enter } = crowd(createGate(size, 60_000));
      await enter(...times(50, (index) => (role === "visitor" ? role : `${role}:${index}`)));
      expect([role, started.length]).toEqual([role, share]);
    }
  });

  test.each([2, 3, 4, 10])("of %i: one is reserved for administrators, whatever the role", async (size) => {
    const { started, enter } = crowd(createGate(size, 60_000));
    await enter(...times(20, () => "visitor"));
    await enter(...times(20, (index) => `learner:${index}`), ...times(20, (index) => `analyst:${index}`));
    expect(started.length).toBe(size - 1);
    await enter("admin:eve");
    expect(started).toContain("admin:eve");
  });

  test("visitors leave room for learners, and learners for analysts", async () => {
    const { started, enter } = crowd(createGate(10, 60_000));
    await enter(
      ...times(50, () => "visitor"),
      "learner:ada",
      ...times(50, (index) => `learner:${index}`),
      "analyst:eve",
    );
    expect(started).toContain("learner:ada");
    expect(started).toContain("analyst:eve");
  });

  test("one person holds half of it at most", async () => {
    const { started, enter } = crowd(createGate(10, 60_000));
    await enter(...times(12, () => "learner:mallory"), "learner:ada");
    expect(started).toEqual([...times(3, () => "learner:mallory"), "learner:ada"]);
  });
});

describe("turns", () => {
  test("are taken by roles, so that one visitor at most is before a learner", async () => {
    const { started, enter, leave } = crowd(createGate(1, 60_000));
    await enter(...times(5, () => "visitor"), "learner:ada", "analyst:eve");
    await leave("visitor", "learner:ada", "analyst:eve");
    expect(started).toEqual(["visitor", "learner:ada", "analyst:eve", "visitor"]);
  });

  test("administrators are next", async () => {
    const { started, enter, leave } = crowd(createGate(1, 60_000));
    await enter("visitor", "learner:ada", "admin:eve");
    await leave("visitor");
    expect(started).toEqual(["visitor", "admin:eve"]);
  });

  test("a person who holds nothing is before a person who holds many", async () => {
    const { started, enter, leave } = crowd(createGate(8, 60_000));
    await enter("learner:m", "learner:a", "learner:b", "learner:c", "learner:m", "learner:d");
    await leave("learner:a", "learner:b");
    expect(started).toEqual(["learner:m", "learner:a", "learner:b", "learner:c", "learner:d", "learner:m"]);
  });

  test("visitors take turns by address; many behind one address may use all of the share", async () => {
    const gate = createGate(10, 60_000);
    const order: string[] = [];
    const ends: (() => void)[] = [];
    const over = new AbortController();
    const visit = async (address: string): Promise<void> => {
      gate.enter("insights_visitor", address, over.signal).then(
        (end) => {
          order.push(address);
          ends.push(end);
        },
        () => undefined,
      );
      await tick();
    };
    for (let count = 0; count < 20; count += 1) await visit("a");
    expect(order).toEqual(["a", "a"]);
    await visit("b");
    ends[0]?.();
    await tick();
    expect(order).toEqual(["a", "a", "b"]);
    over.abort();
  });

  test("are released once, however often the release is called", async () => {
    const gate = createGate(1, 60_000);
    const end = await gate.enter("insights_visitor", "");
    end();
    end();
    const { started, enter } = crowd(gate);
    await enter("visitor", "visitor");
    expect(started).toEqual(["visitor"]);
  });
});

describe("a waiting request", () => {
  test("is refused when many wait already, and those of other roles are not", async () => {
    const { started, refused, enter } = crowd(createGate(4, 60_000));
    await enter(...times(60, () => "visitor"), "learner:ada");
    expect(refused.length).toBe(9);
    expect(started).toEqual(["visitor", "learner:ada"]);
  });

  test("is refused when half of the queue belongs to one person, whose requests block no other person", async () => {
    const { started, refused, enter, leave } = crowd(createGate(2, 60_000));
    await enter(...times(60, () => "learner:mallory"), "learner:ada");
    expect(refused).toEqual(times(34, () => "learner:mallory"));
    await leave("learner:mallory");
    expect(started).toEqual(["learner:mallory", "learner:ada"]);
  });

  test("is refused after a timeout, and does not use a turn", async () => {
    const gate = createGate(1, 20);
    const end = await gate.enter("insights_visitor", "");
    await expect(gate.enter("insights_visitor", "")).rejects.toMatchObject({ code: "53300" });
    end();
    (await gate.enter("insights_visitor", ""))();
  });
});

test("leaves the queue when its client disconnects, and does not use a turn", async () => {
  const gate = createGate(1, 60_000);
  const end = await gate.enter("insights_visitor", "");
  const hangUp = new AbortController();
  const gone = gate.enter("insights_visitor", "", hangUp.signal);
  const next = gate.enter("insights_visitor", "");
  hangUp.abort();
  await expect(gone).rejects.toBeInstanceOf(BusyError);
  end();
  (await next)();
  await expect(gate.enter("insights_visitor", "", hangUp.signal)).rejects.toBeInstanceOf(BusyError);
  (await gate.enter("insights_visitor", ""))();
});

describe("over HTTP", async () => {
  const database = await testDatabase();
  await makeWorld(database);
  const { url, ask, post, token } = await testApi(database, { INSIGHTS_POOL_SIZE: "4" });

  test.skipIf(!database.native)(
    "learners who hold their share do not keep other roles waiting (needs locks)",
    async () => {
      const holder = await database.pool.connect();
      try {
        await holder.query("begin");
        await holder.query("lock table track.session in access exclusive mode");
        const blocked = "{ trackSessions(first: 1) { nodes { startedAt } } }";
        const held = times(6, (index) => `learner:${index}`).map((who) => ask(who, blocked));
        // More requests of one visitor than may wait: some are refused immediately.
        const many = await Promise.all(times(4, () => "x").map(() => post('{"query": "{ __typename }"}')));
        expect(many.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
        expect((await ask("admin", "{ trackItems(first: 1) { nodes { itemId } } }")).errors).toEqual([]);
        expect((await ask("analyst", "{ trackEventTypes(first: 1) { nodes { name } } }")).errors).toEqual([]);
        expect((await fetch(`${url}/healthz`)).status).toBe(200);
        // A request that waits for a turn is refused after five seconds, with the status and the code.
        const response = await post(JSON.stringify({ query: blocked }), {
          authorization: `Bearer ${await token("learner", "late")}`,
        });
        expect(response.status).toBe(503);
        expect(response.headers.get("retry-after")).toBe("5");
        expect(await response.json()).toMatchObject({
          errors: [{ message: "the server is busy", extensions: { code: "53300", hint: expect.any(String) } }],
        });
        await holder.query("rollback");
        const codes = (await Promise.all(held)).flatMap(({ errors }) =>
          errors.map(({ extensions }) => extensions.code),
        );
        expect(codes).toEqual(times(4, () => "53300"));
      } finally {
        await holder.query("rollback");
        holder.release();
      }
    },
  );
});
