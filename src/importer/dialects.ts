import { caliperMessages } from "../collector/caliper.ts";
import { canvasMessages } from "../collector/canvas.ts";
import { BodyError, type Translated } from "../collector/dialect.ts";
import type { Message } from "./message.ts";
import { type Problem, shown } from "./problem.ts";
import { readObjects } from "./segment.ts";
import type { Reader } from "./table.ts";

/** Live Events of Canvas, one per line, as its stream and its exports deliver them; translated as requests are. */
export const canvasReader = (): Reader => dialectReader((body) => canvasMessages({ body }));

/** Caliper: one envelope, or one event, per line. */
export const caliperReader = (): Reader =>
  dialectReader((body) =>
    caliperMessages({
      body: Array.isArray(body["data"])
        ? body
        : { sensor: "file", sendTime: body["eventTime"], dataVersion: body["@context"], data: [body] },
    }),
  );

function dialectReader(translate: (body: Record<string, unknown>) => Translated[]): Reader {
  return (lines) =>
    readObjects(lines, (value) => {
      try {
        return translate(value).map(complete);
      } catch (error) {
        if (!(error instanceof BodyError)) throw error;
        return [{ what: error.message, value: shown(JSON.stringify(value)), hint: error.hint }];
      }
    });
}

/** Nothing is sent now: the times of a file are those of its events. An event of no user is left out. */
function complete(message: Translated): Message | Problem {
  const { sentAt: _, ...kept } = message as Message;
  return kept.userId === undefined && kept.anonymousId === undefined ? { what: "no user", isLeftOut: true } : kept;
}
