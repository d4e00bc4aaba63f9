// A program of the JavaScript SDK, as a user writes it: nothing in it but the environment leads to gyropilot.
// node jobs.mjs <job name> <request as JSON>; prints what it saw as JSON.
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import {
  AddTagsCommand,
  CreateAutoMLJobV2Command,
  DeleteTagsCommand,
  DescribeAutoMLJobV2Command,
  ListTagsCommand,
  paginateListAutoMLJobs,
  SageMakerClient,
  StopAutoMLJobCommand,
} from "@aws-sdk/client-sagemaker";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";

const name = process.argv[2];
const request = JSON.parse(process.argv[3]);
const seen = {};

const s3 = new S3Client({});
await s3.send(new PutObjectCommand({ Bucket: "data", Key: "from-javascript/ü b.txt", Body: "written by node" }));
const got = await s3.send(new GetObjectCommand({ Bucket: "data", Key: "from-javascript/ü b.txt" }));
seen.object = await got.Body.transformToString();
const listed = await s3.send(new ListObjectsV2Command({ Bucket: "data", Prefix: "from-javascript/" }));
seen.keys = listed.Contents.map((one) => one.Key);

const identity = await new STSClient({}).send(new GetCallerIdentityCommand({}));
seen.account = identity.Account;

const sagemaker = new SageMakerClient({});
const created = await sagemaker.send(new CreateAutoMLJobV2Command({ ...request, AutoMLJobName: name }));
seen.arn = created.AutoMLJobArn;

const described = await sagemaker.send(new DescribeAutoMLJobV2Command({ AutoMLJobName: name }));
seen.problem = described.AutoMLProblemTypeConfig;
seen.created = described.CreationTime instanceof Date && Math.abs(Date.now() - described.CreationTime) < 600_000;

seen.names = [];
const filter = { NameContains: "script", SortBy: "CreationTime", SortOrder: "Ascending", MaxResults: 1 };
for await (const page of paginateListAutoMLJobs({ client: sagemaker }, filter)) {
  seen.names.push(...page.AutoMLJobSummaries.map((one) => one.AutoMLJobName));
}

await sagemaker.send(new AddTagsCommand({ ResourceArn: seen.arn, Tags: [{ Key: "by", Value: "node" }, { Key: "x", Value: "" }] }));
await sagemaker.send(new DeleteTagsCommand({ ResourceArn: seen.arn, TagKeys: ["x"] }));
seen.tags = (await sagemaker.send(new ListTagsCommand({ ResourceArn: seen.arn }))).Tags;

await sagemaker.send(new StopAutoMLJobCommand({ AutoMLJobName: name }));
for (let tries = 0; tries < 600; tries++) {
  const job = await sagemaker.send(new DescribeAutoMLJobV2Command({ AutoMLJobName: name }));
  seen.status = job.AutoMLJobStatus;
  if (!["InProgress", "Stopping"].includes(seen.status)) break;
  await new Promise((resolve) => setTimeout(resolve, 200));
}

seen.errors = [];
for (const refused of [
  new DescribeAutoMLJobV2Command({ AutoMLJobName: "nobody" }),
  new CreateAutoMLJobV2Command({ ...request, AutoMLJobName: name.toUpperCase() }),
  new CreateAutoMLJobV2Command({ ...request, AutoMLJobName: "-bad-" }),
]) {
  try {
    await sagemaker.send(refused);
  } catch (error) {
    seen.errors.push([error.name, error.$metadata.httpStatusCode, error.message.length > 10]);
  }
}
console.log(JSON.stringify(seen));
