// A program of the JavaScript SDK that asks a deployed model; nothing in it but the environment leads to gyropilot.
// node endpoint.mjs <endpoint name> <payload as JSON>; prints what it saw as JSON.
import { DescribeEndpointCommand, SageMakerClient } from "@aws-sdk/client-sagemaker";
import {
  InvokeEndpointCommand,
  InvokeEndpointWithResponseStreamCommand,
  SageMakerRuntimeClient,
} from "@aws-sdk/client-sagemaker-runtime";

const name = process.argv[2];
const payload = JSON.parse(process.argv[3]);
const seen = {};

const described = await new SageMakerClient({}).send(new DescribeEndpointCommand({ EndpointName: name }));
seen.status = described.EndpointStatus;

const runtime = new SageMakerRuntimeClient({});
const call = { EndpointName: name, ContentType: "application/json", Accept: "application/json" };
const answered = await runtime.send(new InvokeEndpointCommand({ ...call, Body: JSON.stringify(payload) }));
seen.variant = answered.InvokedProductionVariant;
seen.type = answered.ContentType;
seen.answer = JSON.parse(new TextDecoder().decode(answered.Body));

const streamed = await runtime.send(
  new InvokeEndpointWithResponseStreamCommand({ ...call, Body: JSON.stringify({ ...payload, stream: true }) }),
);
const decoder = new TextDecoder();
let text = "";
seen.parts = 0;
for await (const event of streamed.Body) {
  text += decoder.decode(event.PayloadPart.Bytes, { stream: true });
  seen.parts += 1;
}
seen.streamed = text;

seen.errors = [];
for (const refused of [
  new InvokeEndpointCommand({ ...call, EndpointName: "nobody", Body: "{}" }),
  new InvokeEndpointCommand({ ...call, Body: "not JSON" }),
]) {
  try {
    await runtime.send(refused);
    seen.errors.push("none");
  } catch (error) {
    seen.errors.push([error.name, error.$metadata.httpStatusCode, error.OriginalStatusCode ?? null]);
  }
}
console.log(JSON.stringify(seen));
