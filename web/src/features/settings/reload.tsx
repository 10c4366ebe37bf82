// What stands against the file: a change that was refused, keys that wait for a restart, remarks. Each beside what runs.
import type { Schemas } from "@/api/client";
import { Differences } from "@/components/differences";
import { Notice } from "@/components/states";
import { at, written } from "@/lib/changes";
import { ago, instant } from "@/lib/format";

type Config = Schemas["Config"];

export function Reload({ data }: { data: Config }) {
  const { rejected, needs_restart, warnings, config } = data;
  return (
    <>
      {rejected && (
        <Notice tone="bad" title="The last change of the file was refused; what ran before goes on">
          <p
            title={instant(rejected.at)}
          >{`Refused ${ago(rejected.at)}. Correct the file, and it is taken up by itself.`}</p>
          <Problems problems={rejected.problems} config={config} />
          {rejected.differences && (
            <div className="mt-3">
              <h3 className="mb-1.5 eyebrow">How it differs from the file that runs</h3>
              <Differences
                list={rejected.differences.map(({ key, running, refused }) => ({
                  path: key,
                  before: running ?? undefined,
                  after: refused ?? undefined,
                }))}
                nothing="It says the same: what stands against it lies elsewhere, in the price file or the storage."
                words={{ before: "runs", after: "refused" }}
              />
            </div>
          )}
        </Notice>
      )}
      {needs_restart.length > 0 && (
        <Notice title="Changed in the file, in force after a restart">
          <ul className="mt-1 font-mono text-xs">
            {needs_restart.map((key) => (
              <li key={key}>{`${key}, running: ${written(at(config, key))}`}</li>
            ))}
          </ul>
        </Notice>
      )}
      {warnings.length > 0 && (
        <Notice tone="plain" title="Remarks on the file">
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
        const running = it.key === "" ? undefined : at(config, it.key);
        return (
          <li key={`${it.line}:${it.column} ${it.key} ${it.message}`} className="break-words">
            <span className="font-mono text-xs text-ink">{`${it.line > 0 ? `${it.line}:${it.column} ` : ""}${it.key}`}</span>
            <span className="[unicode-bidi:isolate]">{` ${it.message}`}</span>
            {running !== undefined && typeof running !== "object" && (
              <span className="text-faint">{` (running: ${written(running)})`}</span>
            )}
          </li>
        );
      })}
    </ul>
  );
}
