// Problems with the config file: a rejected change, keys that need a restart, and warnings, each with the running value.
import type { Schemas } from "@/api/client";
import { Differences } from "@/components/differences";
import { Notice } from "@/components/states";
import { valueAt, valueText } from "@/lib/changes";
import { ago, fullTime } from "@/lib/format";

type Config = Schemas["Config"];

export function Reload({ data }: { data: Config }) {
  const { rejected, needs_restart, warnings, config } = data;
  return (
    <>
      {rejected && (
        <Notice
          tone="bad"
          title="The last change to the config file was rejected. The previous configuration is still running."
        >
          <p
            title={fullTime(rejected.at)}
          >{`Rejected ${ago(rejected.at)}. Fix the file, and luner reloads it automatically.`}</p>
          <Problems problems={rejected.problems} config={config} />
          {rejected.differences && (
            <div className="mt-3">
              <h3 className="mb-1.5 eyebrow">Differences from the running file</h3>
              <Differences
                list={rejected.differences.map(({ key, running, refused }) => ({
                  path: key,
                  before: running ?? undefined,
                  after: refused ?? undefined,
                }))}
                emptyText="The files do not differ. The problem is elsewhere: in the price file or the storage."
                labels={{ before: "running", after: "rejected" }}
              />
            </div>
          )}
        </Notice>
      )}
      {needs_restart.length > 0 && (
        <Notice title="Changed in the file, but needs a restart">
          <ul className="mt-1 font-mono text-xs">
            {needs_restart.map((key) => (
              <li key={key}>{`${key}, running: ${valueText(valueAt(config, key))}`}</li>
            ))}
          </ul>
        </Notice>
      )}
      {warnings.length > 0 && (
        <Notice tone="plain" title="Warnings about the config file">
          <Problems problems={warnings} config={config} />
        </Notice>
      )}
    </>
  );
}

function Problems({ problems, config }: { problems: Schemas["Problem"][]; config: Config["config"] }) {
  return (
    <ul className="mt-1.5 flex flex-col gap-1.5">
      {problems.map((it) => {
        const running = it.key === "" ? undefined : valueAt(config, it.key);
        return (
          <li key={`${it.line}:${it.column} ${it.key} ${it.message}`} className="break-words">
            <span className="font-mono text-xs text-ink">{`${it.line > 0 ? `${it.line}:${it.column} ` : ""}${it.key}`}</span>
            <span className="[unicode-bidi:isolate]">{` ${it.message}`}</span>
            {running !== undefined && typeof running !== "object" && (
              <span className="text-faint">{` (running: ${valueText(running)})`}</span>
            )}
          </li>
        );
      })}
    </ul>
  );
}
