import { createClient, InsightsError, type Recommendation } from "canvas-flow-insights/client";
import { useEffect, useRef, useState } from "react";
import { createRoot } from "react-dom/client";

/*
 * The recommendations of a signed-in person with the reasons, and her answers: rows that she saw, a click, "not
 * interested", and the end of personal recommendations.
 */

const client = createClient({ url: "", token: () => sessionStorage.getItem("token") ?? undefined });

/** Does the work, and reports the error of the API, if any. */
async function attempt(report: (problem: string) => void, work: () => Promise<void>): Promise<void> {
  try {
    await work();
    report("");
  } catch (error) {
    if (!(error instanceof InsightsError)) throw error;
    report(`${error.message}. ${error.hint ?? ""}`);
  }
}

function Row({ row, onDismiss }: { row: Recommendation; onDismiss: () => void }) {
  const element = useRef<HTMLLIElement>(null);
  const servingId = row.servingId ?? "";
  useEffect(() => {
    const observer = new IntersectionObserver(([entry]) => {
      if (!entry?.isIntersecting) return;
      observer.disconnect();
      client.seen({ servingId }).catch(() => {});
    });
    if (element.current !== null) observer.observe(element.current);
    return () => observer.disconnect();
  }, [servingId]);
  const because = row.reasons?.flatMap((reason) => reason?.title ?? []) ?? [];
  return (
    <li ref={element}>
      <a href={`#${row.item}`} onClick={() => void client.clicked({ servingId }).catch(() => {})}>
        {row.title ?? row.item}
      </a>
      {because.length > 0 && <small> because of {because.join(", ")}</small>}
      <button type="button" onClick={onDismiss}>
        not interested
      </button>
    </li>
  );
}

function Recommendations() {
  const [rows, setRows] = useState<Recommendation[]>([]);
  const [problem, setProblem] = useState("");
  const [round, setRound] = useState(1);
  useEffect(() => {
    if (round > 0) void attempt(setProblem, async () => setRows(await client.recommendations({ top: 3 })));
  }, [round]);
  const answer = (work: () => Promise<unknown>): Promise<void> =>
    attempt(setProblem, async () => {
      await work();
      setRound(round + 1);
    });
  return (
    <>
      <h1>For you</h1>
      {problem !== "" && <p role="alert">{problem}</p>}
      <ul>
        {rows.map((row) => (
          <Row
            key={row.servingId}
            row={row}
            onDismiss={() => answer(() => client.dismiss({ servingId: row.servingId ?? "" }))}
          />
        ))}
      </ul>
      <button id="opt-out" type="button" onClick={() => answer(() => client.decide(false, ["personalization"]))}>
        no personal recommendations
      </button>
    </>
  );
}

const root = document.getElementById("root");
if (root !== null) createRoot(root).render(<Recommendations />);
