"""LangChain through luner: set the base_url, and headers that name the caller."""

import os

from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    model=os.environ.get("LUNER_MODEL", "gpt-4o"),
    base_url=os.environ.get("LUNER_URL", "http://127.0.0.1:8080") + "/v1",
    api_key="any",  # luner adds the provider's key
    temperature=0,
    default_headers={"X-Luner-User": "ana", "X-Luner-Tenant": "acme", "X-Luner-Agent": "langchain"},
)
chain = ChatPromptTemplate.from_messages([("user", "Say hello in {language}.")]) | model

answer = chain.invoke({"language": "French"})
print(answer.content)
print(answer.usage_metadata["total_tokens"], "tokens")

for chunk in chain.stream({"language": "Italian"}):
    print(chunk.content, end="", flush=True)
print()
