// One request of a trace: the policies' inputs and results, and the request and response bodies if they are stored.
import { Link } from "@tanstack/react-router";
import { basePath, type Schemas } from "@/api/client";
import { CopyButton } from "@/components/copy-button";
import { ActionTag } from "@/components/tone";
import { curl } from "@/lib/curl";
import { count, usd } from "@/lib/format";

type Request = Schemas["TraceRequest"];

const NOTES: Record<Schemas["Note"], string> = {
  applied: "Applied.",
  shadow: "Not applied: the policy is in shadow mode.",
  second_downgrade: "Not applied: the request was already downgraded.",
  no_target: "Not applied: there is no cheaper model.",
  same_model: "Not applied: the request already uses the target model.",
  not_served: "Not applied: no provider serves the target model.",
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
  const responseTitle = request.cut ? `Response body, incomplete: ${request.cut}` : "Response body";
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
        <CopyButton showLabel label="Copy as curl" text={command} />
      </div>
      <Policies request={request} />
      {request.request || request.answer ? (
        <div className="grid grid-cols-1 gap-px border-t border-line bg-line lg:grid-cols-2">
          <BodyPart title="Request body" body={request.request} />
          <BodyPart title={responseTitle} body={request.answer} />
        </div>
      ) : (
        <p className="border-t border-line px-4 py-2.5 text-xs text-faint">
          {request.cut ? `Response incomplete: ${request.cut}. ` : ""}
          The bodies of this request are not recorded. <code className="font-mono">storage.capture</code> decides which
          are: none, errors or all.
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
        <h3 className="mb-1 eyebrow">Policy results</h3>
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
                className="untrusted max-w-full rounded-sm font-medium hover:text-accent"
              >
                {policy.name}
              </Link>
              <span className="text-soft">
                {NOTES[policy.note as Schemas["Note"]] ?? policy.note}
                {policy.target && policy.effective ? ` Sent to ${policy.target}.` : ""}
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
        <h3 className="mb-1 eyebrow">Policy inputs</h3>
        <dl className="grid grid-cols-1 gap-x-6 font-mono text-xs sm:grid-cols-2">
          {inputs.map(([name, value]) => (
            <div key={name} className="flex justify-between gap-3 border-b border-line py-1">
              <dt className="text-faint">{name}</dt>
              <dd className="untrusted">
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

/** Indents JSON. Returns any other text unchanged. */
export function indentJson(text: string): string {
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
        {body && <CopyButton label={`Copy the ${title.toLowerCase()}`} text={body.text} />}
      </div>
      {body ? (
        <>
          {/* A scrolling area must be reachable by keyboard. */}
          <pre
            // biome-ignore lint/a11y/noNoninteractiveTabindex: see above
            tabIndex={0}
            className="mt-1 max-h-96 overflow-auto rounded-md font-mono text-xs break-words whitespace-pre-wrap [unicode-bidi:isolate]"
          >
            {indentJson(body.text)}
          </pre>
          {body.cut && <p className="mt-1 text-xs text-warn">Truncated: the rest is not stored.</p>}
        </>
      ) : (
        <p className="mt-1 text-faint">Not recorded.</p>
      )}
    </div>
  );
}
