import { Card } from "../card.tsx";
import { bars } from "../chart.tsx";
import { present } from "../data.ts";
import { health, latencies, slowStatements, tableState } from "../operations.ts";
import { Runs } from "../runs.tsx";
import { useSettings } from "../settings.ts";
import { texts } from "../texts.ts";

const { findings, requests, tables, statements } = texts.operations;

/** Is the installation well, and what must be done? */
export default function Operations() {
  const { period } = useSettings();
  return (
    <div class="cards">
      <Card
        title={findings.title}
        explanation={findings.explanation}
        empty={findings.empty}
        operation={health}
        variables={{}}
        isWide
        everyMs={60_000}
        rows={({ monitorHealth }) => present(monitorHealth?.findings)}
        columns={({ text }) => [
          {
            head: findings.severity,
            value: ({ severity }) => severity,
            show: ({ severity }) => <span class="bad">{severity}</span>,
          },
          text(findings.check, ({ healthCheck }) => healthCheck),
          text(findings.message, ({ message }) => message),
          text(findings.fix, ({ fix }) => fix),
        ]}
      />
      <Card
        title={requests.title}
        explanation={requests.explanation}
        operation={latencies}
        variables={{ since: period.since }}
        everyMs={60_000}
        rows={({ monitorLatencies }) => present(monitorLatencies?.nodes)}
        columns={({ count, text }) => [
          text(requests.operation, ({ operation }) => operation),
          count(requests.calls, ({ calls }) => calls),
          count(requests.failures, ({ failures }) => failures),
          count(requests.p50, ({ p50Ms }) => p50Ms),
          count(requests.p90, ({ p90Ms }) => p90Ms),
          count(requests.p99, ({ p99Ms }) => p99Ms),
        ]}
      />
      <Runs first={50} />
      <Card
        title={tables.title}
        explanation={tables.explanation}
        operation={tableState}
        variables={{}}
        rows={({ monitorTableState }) =>
          present(monitorTableState?.nodes).toSorted((one, other) => Number(other.bytes) - Number(one.bytes))
        }
        columns={({ count, rate, text, time }) => [
          text(tables.table, ({ tableName }) => tableName),
          count(tables.rows, ({ rowCount }) => rowCount),
          count(tables.bytes, ({ bytes }) => bytes),
          count(tables.growth, ({ bytesPerDay }) => bytesPerDay),
          rate(tables.dead, ({ deadShare }) => deadShare),
          time(tables.vacuumed, ({ vacuumedAt }) => vacuumedAt),
        ]}
        chart={(rows) =>
          bars(
            rows.slice(0, 10).map(({ tableName }) => tableName ?? ""),
            tables.bytes,
            rows.slice(0, 10).map(({ bytes }) => Number(bytes ?? 0)),
          )
        }
      />
      <Card
        title={statements.title}
        explanation={statements.explanation}
        empty={statements.empty}
        operation={slowStatements}
        variables={{}}
        rows={({ monitorSlowStatements }) => present(monitorSlowStatements?.nodes)}
        columns={({ count, rate, text }) => [
          text(statements.statement, ({ statement }) => statement?.slice(0, 200)),
          count(statements.calls, ({ calls }) => calls),
          count(statements.seconds, ({ totalSeconds }) => totalSeconds),
          count(statements.mean, ({ meanMilliseconds }) => meanMilliseconds),
          rate(statements.share, ({ share }) => share),
        ]}
      />
    </div>
  );
}
