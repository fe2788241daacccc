import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { Message } from "../../src/importer/message.ts";
import { offsetAt, wallClockOf } from "../../src/importer/time-zone.ts";
import { FIRST_HEARTBEAT, HEARTBEAT, match, REST } from "../../src/simulator/behaviour.ts";
import { type Delivery, RATES } from "../../src/simulator/delivery.ts";
import { DAY, Options, type OptionsInput, WEEK } from "../../src/simulator/options.ts";
import { Simulation } from "../../src/simulator/simulation.ts";

const until = new Date("2026-04-20");

function simulate(options: Partial<OptionsInput> = {}): { simulation: Simulation; deliveries: Delivery[] } {
  const simulation = new Simulation(Options.parse({ learners: 200, weeks: 8, seed: 7, until, ...options }));
  return { simulation, deliveries: [...simulation.deliveries()] };
}

/** The event time as a server computes it: received − (sent − original). */
const corrected = ({ timestamp, sentAt, receivedAt }: Message): number =>
  Date.parse(receivedAt ?? "") - (Date.parse(sentAt ?? "") - Date.parse(timestamp));

const digest = (deliveries: Delivery[]): string =>
  createHash("sha256").update(JSON.stringify(deliveries)).digest("hex");

const { simulation, deliveries } = simulate();
/** Each message once, as it arrived first. */
const messages = [
  ...new Map(
    deliveries
      .flatMap((each) => each.messages)
      .toReversed()
      .map((m) => [m.messageId, m]),
  ).values(),
];
const learners = new Map(simulation.learners.map((learner) => [learner.externalId, learner]));

describe("a population", () => {
  test("is the same byte for byte for the same options, and different for another seed", () => {
    const options = { learners: 30, courses: 10, weeks: 4 };
    const first = simulate(options);
    const second = simulate(options);
    expect(digest(second.deliveries)).toBe(digest(first.deliveries));
    expect(JSON.stringify(second.simulation.sessions)).toBe(JSON.stringify(first.simulation.sessions));
    expect(digest(simulate({ ...options, seed: 8 }).deliveries)).not.toBe(digest(first.deliveries));
  });

  test("grows without changing the existing learners", () => {
    const small = simulate({ learners: 20 }).simulation;
    const large = simulate({ learners: 60 }).simulation;
    expect(large.learners.slice(0, 20)).toEqual(small.learners);
    const sessionsOf = ({ sessions }: Simulation) =>
      sessions.filter(({ person }) => small.learners.some(({ externalId }) => externalId === person));
    expect(sessionsOf(large)).toEqual(sessionsOf(small));
  });

  test("has people with names of their own", () => {
    const many = simulate({ learners: 5_000, weeks: 1, courses: 1 }).simulation.learners;
    expect(new Set(many.map(({ externalId }) => externalId)).size).toBe(5_000);
    for (const { externalId } of many) expect(externalId).toMatch(/^[a-z]+\.[a-z]+(\.\d+)?$/);
  });
});

describe("the deliveries to a server", () => {
  test("arrive in order, within the simulated time", () => {
    const start = until.getTime() - 8 * WEEK;
    let before = start;
    for (const { receivedAt, messages } of deliveries) {
      expect(receivedAt).toBeGreaterThanOrEqual(before);
      expect(receivedAt).toBeLessThan(until.getTime());
      expect(messages.length).toBeGreaterThan(0);
      before = receivedAt;
    }
  });

  test("contain some batches twice, some late, and clocks that are wrong, at the documented rates", () => {
    const seen = new Set<string>();
    let repeated = 0;
    for (const { messages } of deliveries) {
      const id = messages[0]?.messageId ?? "";
      if (seen.has(id)) repeated += 1;
      seen.add(id);
    }
    expect(repeated / seen.size / (RATES.repeated + RATES.repeatedLate)).toBeCloseTo(1, 0.5);
    const late = deliveries.filter(
      ({ receivedAt, messages }) => receivedAt - corrected(messages[0] as Message) > 10 * 60_000,
    );
    expect(late.length / deliveries.length).toBeGreaterThan(0.01);
    expect(late.length / deliveries.length).toBeLessThan(0.05);
    const skewed = messages.filter((m) => Math.abs(Date.parse(m.timestamp) - corrected(m)) > 60_000);
    expect(skewed.length / messages.length).toBeGreaterThan(0.05);
    expect(skewed.length / messages.length).toBeLessThan(0.25);
  });

  test("are of known people or of visitors, who sign in after browsing", () => {
    const anonymous = messages.filter(({ userId }) => userId === undefined);
    expect(anonymous.length).toBeGreaterThan(0);
    for (const message of messages) {
      expect(message.anonymousId).toBeTruthy();
      if (message.userId !== undefined) expect(learners.has(message.userId)).toBe(true);
    }
    const ofLearners = anonymous.filter(({ anonymousId = "" }) => !anonymousId.startsWith("visitor"));
    expect(ofLearners.length).toBeGreaterThan(0);
    const identified = new Map(
      messages.filter(({ type }) => type === "identify").map((m) => [m.anonymousId, corrected(m)]),
    );
    for (const message of ofLearners) {
      expect(corrected(message) - (identified.get(message.anonymousId) ?? 0)).toBeLessThan(2_000);
    }
  });
});

describe("the truth about sessions", () => {
  // Per device, because a device distinguishes anonymous visitors.
  const byPerson = Map.groupBy(messages, ({ anonymousId = "" }) => anonymousId.split("~")[0] ?? "");

  test("is what a pause of half an hour infers from the corrected times", () => {
    // Messages that had not arrived by the end, or whose network was unavailable, may leave a true session incomplete
    // or invisible.
    const visitors = simulation.sessions.filter(({ person }) => person === null);
    expect(visitors.length).toBeGreaterThan(0);
    let found = 0;
    let expected = 0;
    for (const learner of simulation.learners) {
      const times = (byPerson.get(learner.externalId) ?? []).map(corrected).sort((a, b) => a - b);
      const starts = times.filter((time, index) => index === 0 || time - (times[index - 1] ?? 0) > 30 * 60_000);
      const truth = simulation.sessions.filter(({ person }) => person === learner.externalId);
      found += starts.length;
      expected += truth.length;
      for (const start of starts) {
        expect(truth.some((session) => Math.abs(session.startedAt - start) < 5_000)).toBe(true);
      }
      for (const [index, session] of truth.entries()) {
        const previous = truth[index - 1];
        if (previous !== undefined) expect(session.startedAt - previous.endedAt).toBeGreaterThanOrEqual(REST);
      }
    }
    expect(expected).toBeGreaterThan(1_000);
    expect(Math.abs(found - expected)).toBeLessThan(0.01 * expected);
  });

  test("is visible in heartbeats up to their interval per view", () => {
    const beats = Map.groupBy(
      messages.filter(({ event }) => event === "Heartbeat" || event === "Video Content Playing"),
      ({ properties }) => String(properties?.["viewId"]),
    );
    let measured = 0;
    for (const view of beats.values()) measured += HEARTBEAT * (view.length - 1) + FIRST_HEARTBEAT;
    const engaged = simulation.sessions.reduce((sum, session) => sum + session.engagedSeconds, 0);
    const views = simulation.sessions.reduce((sum, session) => sum + session.views, 0);
    // Between zero and ten seconds of each view are invisible: five on average.
    expect(engaged - measured).toBeGreaterThan(4 * views);
    expect(engaged - measured).toBeLessThan(6 * views);
  });

  test("follows each learner's local clock, across the change to summer time", () => {
    const errors: number[] = [];
    const byZone = Map.groupBy(simulation.learners, ({ timeZone }) => timeZone);
    expect(byZone.size).toBeGreaterThan(6);
    for (const learner of simulation.learners) {
      const own = simulation.sessions.filter(({ person }) => person === learner.externalId);
      if (own.length < 12) continue;
      const hours = own
        .map(({ startedAt }) => (wallClockOf(learner.timeZone, startedAt) % DAY) / 3_600_000)
        .sort((a, b) => a - b);
      errors.push((hours[hours.length >> 1] ?? 0) - learner.peakHour);
    }
    expect(errors.length).toBeGreaterThan(50);
    // The median start of a learner varies, that of all learners does not: an error of an hour would be visible.
    const mean = errors.reduce((sum, error) => sum + error, 0) / errors.length;
    expect(Math.abs(mean)).toBeLessThan(0.5);
    const berlin = [Date.UTC(2026, 2, 1), Date.UTC(2026, 3, 1)].map((instant) => offsetAt("Europe/Berlin", instant));
    expect(berlin).toEqual([3_600_000, 7_200_000]);
  });

  test("distinguishes the learners who come on weekends", () => {
    const share = (weekendly: boolean): number => {
      const own = simulation.sessions.filter(({ person }) => {
        const learner = person === null ? undefined : learners.get(person);
        return learner !== undefined && learner.weekendFactor > 1 === weekendly;
      });
      const atWeekends = own.filter(({ person, startedAt }) => {
        const zone = learners.get(person ?? "")?.timeZone ?? "UTC";
        return [0, 6].includes(new Date(wallClockOf(zone, startedAt)).getUTCDay());
      });
      return atWeekends.length / own.length;
    };
    // Factors average 0.5 and 1.8, so 2f / (5 + 2f) is a sixth and four tenths.
    expect(share(false)).toBeCloseTo(0.17, 1);
    expect(share(true)).toBeCloseTo(0.42, 1);
  });
});

describe("the truth about courses", () => {
  const { enrolments } = simulation;

  test("depends on preferences", () => {
    const chosen = enrolments.map(({ person, course }) => {
      const learner = learners.get(person);
      if (learner === undefined) throw new Error(`there is no person ${person}`);
      const all = simulation.catalogue.courses.map((each) => match(learner, each));
      return { own: match(learner, course), average: all.reduce((sum, each) => sum + each, 0) / all.length };
    });
    expect(chosen.length).toBeGreaterThan(200);
    const mean = (value: (each: (typeof chosen)[number]) => number): number =>
      chosen.reduce((sum, each) => sum + value(each), 0) / chosen.length;
    expect(mean(({ own }) => own)).toBeGreaterThan(2 * mean(({ average }) => average));
  });

  test("respects prerequisites and the periods of courses", () => {
    for (const { person, course, enrolledAt, completedAt } of enrolments) {
      if (course.requires !== undefined) {
        const before = enrolments.find((other) => other.person === person && other.course === course.requires);
        expect(before?.completedAt).toBeLessThanOrEqual(enrolledAt);
      }
      expect(enrolledAt).toBeGreaterThanOrEqual(course.availableFrom);
      expect(enrolledAt).toBeLessThan(course.availableUntil ?? Number.POSITIVE_INFINITY);
      if (completedAt !== undefined) expect(completedAt).toBeGreaterThan(enrolledAt);
    }
    expect(simulation.catalogue.courses.some(({ requires }) => requires !== undefined)).toBe(true);
  });

  test("loses learners at the documented hazard", () => {
    // Each week of an enrolment, including the one in which it ended, is a trial; completion and the end of the
    // simulation censor.
    let expected = 0;
    let variance = 0;
    let observed = 0;
    for (const { enrolledAt, givesUpAt, completedAt, weeklyHazard, course } of simulate({ learners: 600 }).simulation
      .enrolments) {
      const seenUntil = Math.min(
        completedAt ?? Number.POSITIVE_INFINITY,
        until.getTime(),
        course.availableUntil ?? Number.POSITIVE_INFINITY,
      );
      for (let week = enrolledAt; week + WEEK <= seenUntil && week < givesUpAt; week += WEEK) {
        expected += weeklyHazard;
        variance += weeklyHazard * (1 - weeklyHazard);
        if (givesUpAt < week + WEEK) observed += 1;
      }
    }
    expect(expected).toBeGreaterThan(50);
    expect(Math.abs(observed - expected)).toBeLessThan(4 * Math.sqrt(variance));
  });

  test("is visible in the events: enrolments, completions, ratings", () => {
    const events = (name: string): Set<string> =>
      new Set(
        messages.filter(({ event }) => event === name).map((m) => `${m.userId} ${String(m.properties?.["item"])}`),
      );
    const truly = (filter: (enrolment: (typeof enrolments)[number]) => boolean): Set<string> =>
      new Set(enrolments.filter(filter).map(({ person, course }) => `${person} ${course.externalId}`));
    const missing = (a: Set<string>, b: Set<string>): number => a.difference(b).size;
    for (const [name, truth] of [
      ["Course Enrolled", truly(() => true)],
      ["Course Completed", truly(({ completedAt }) => completedAt !== undefined)],
      ["Course Rated", truly(({ rating }) => rating !== undefined)],
    ] as const) {
      expect(missing(events(name), truth)).toBe(0);
      // Messages that had not arrived at the end are true, but unknown to the server.
      expect(missing(truth, events(name))).toBeLessThanOrEqual(0.02 * truth.size + 1);
    }
  });
});
