// One request of the trace: what the policies saw and said, and what was sent and answered where that is stored.
import { Link } from "@tanstack/react-router";
import { basePath, type Schemas } from "@/api/client";
import { CopyButton } from "@/components/copy-button";
import { ActionTag } from "@/components/tone";
import { curl } from "@/lib/curl";
import { count, usd } from "@/lib/format";

type Request = Schemas["TraceRequest"];

const NOTES: Record<string, string> = {
  applied: "It took effect.",
  shadow: "It would have taken effect; it only watches.",
  second_downgrade: "No effect: the model had been swapped before.",
  no_target: "No effect: there is no cheaper model to go to.",
  same_model: "No effect: the request asked for the target already.",
};

export function RequestPanel({
  request,
  summary,
  number,
}: {
  request: Request;
  summary: Schemas["TraceItem"];
  number?: number;
}) {
  const command = () =>
    curl({
      url: `${location.origin}${basePath()}${request.endpoint.slice(1)}`,
      body: request.request && !request.request.cut ? request.request.text : null,
      model: request.model_asked,
      headers: {
        "X-Luner-User": summary.user_id,
        "X-Luner-Tenant": summary.tenant_id,
        "X-Luner-Agent": summary.agent_name,
      },
    });
  const answered = request.cut ? `Answered, cut: ${request.cut}` : "Answered";
  return (
    <section
      aria-label={number ? `Request ${number}` : "Request"}
      className="overflow-hidden rounded-lg border border-line bg-surface"
    >
      <div className="flex flex-wrap items-center justify-between gap-2 border-b border-line px-4 py-2">
        <h2 className="font-medium">
          {number ? `Request ${number}` : "Request"}
          <code className="ml-2 font-mono text-xs font-normal text-faint">{request.request_id}</code>
        </h2>
        <CopyButton words label="Copy as curl" text={command} />
      </div>
      <Policies request={request} />
      {request.request || request.answer ? (
        <div className="grid grid-cols-1 gap-px border-t border-line bg-line lg:grid-cols-2">
          <BodyPart title="Sent" body={request.request} />
          <BodyPart title={answered} body={request.answer} />
        </div>
      ) : (
        <p className="border-t border-line px-4 py-2.5 text-xs text-faint">
          {request.cut ? `${answered}. ` : ""}
          What was sent and answered is not recorded: <code className="font-mono">storage.capture</code> says whose is,
          none, errors or all.
        </p>
      )}
    </section>
  );
}

function Policies({ request }: { request: Request }) {
  const { policies, failures } = request;
  const inputs = Object.entries(request.inputs).filter(([, value]) => value !== null && value !== undefined);
  return (
    <div className="grid grid-cols-1 gap-x-8 gap-y-4 px-4 py-3 lg:grid-cols-[minmax(0,1fr)_minmax(0,1fr)]">
      <div>
        <h3 className="mb-1 eyebrow">What the policies said</h3>
        {policies.length === 0 && failures.length === 0 && <p className="text-faint">None matched.</p>}
        <ul className="flex flex-col">
          {policies.map((policy) => (
            <li
              key={policy.id}
              className="flex flex-wrap items-center gap-x-3 border-b border-line py-1.5 last:border-0"
            >
              <span className="w-28 shrink-0">
                <ActionTag action={policy.action} mode={policy.mode} />
              </span>
              <Link
                to="/policies/$id"
                params={{ id: policy.id }}
                className="outside max-w-full rounded-sm font-medium hover:text-accent"
              >
                {policy.name}
              </Link>
              <span className="text-soft">
                {NOTES[policy.note] ?? policy.note}
                {policy.target && policy.effective ? ` To ${policy.target}.` : ""}
              </span>
            </li>
          ))}
          {failures.map((failure) => (
            <li
              key={failure.id}
              className="py-1.5 text-bad"
            >{`${failure.name} failed: ${failure.kind.replaceAll("_", " ")}`}</li>
          ))}
        </ul>
      </div>
      <div>
        <h3 className="mb-1 eyebrow">What they saw</h3>
        <dl className="grid grid-cols-1 gap-x-6 font-mono text-xs sm:grid-cols-2">
          {inputs.map(([name, value]) => (
            <div key={name} className="flex justify-between gap-3 border-b border-line py-1">
              <dt className="text-faint">{name}</dt>
              <dd className="outside">
                {name.includes("cost")
                  ? usd(Number(value))
                  : typeof value === "number" && Number.isInteger(value)
                    ? count(value)
                    : String(value)}
              </dd>
            </div>
          ))}
        </dl>
      </div>
    </div>
  );
}

/** Indented where it is JSON, as it is where not. */
export function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function BodyPart({ title, body }: { title: string; body: Schemas["Body"] | null }) {
  return (
    <div className="flex min-w-0 flex-col bg-surface px-4 py-3">
      <div className="flex min-h-6 items-center justify-between">
        <h3 className="eyebrow">{title}</h3>
        {body && <CopyButton label={`Copy what was ${title.toLowerCase()}`} text={body.text} />}
      </div>
      {body ? (
        <>
          {/* What scrolls must be reachable by keyboard. */}
          <pre
            // biome-ignore lint/a11y/noNoninteractiveTabindex: see above
            tabIndex={0}
            className="mt-1 max-h-96 overflow-auto rounded-md font-mono text-xs break-words whitespace-pre-wrap [unicode-bidi:isolate]"
          >
            {pretty(body.text)}
          </pre>
          {body.cut && <p className="mt-1 text-xs text-warn">It was longer; the rest is not stored.</p>}
        </>
      ) : (
        <p className="mt-1 text-faint">Not recorded.</p>
      )}
    </div>
  );
}
