// Prints how many events a second the Node client appends (256 in flight) or reads. node server_node.js URL WHAT COUNT
const k = require("@kurrent/kurrentdb-client");
const [url, what, count] = process.argv.slice(2);
const client = k.KurrentDBClient.connectionString(url);
const data = {
  activity: "A_SUBMITTED", lifecycle: "COMPLETE", resource: "112", amount_requested: 20000,
  registered: "2011-10-01T00:38:44.546+02:00", occurred: "2011-10-01T00:38:44.546+02:00", case: "173688",
};

async function appends() {
  let left = 6000;
  const work = async () => {
    while (left-- > 0)
      await client.appendToStream(`loan-${left % 500}`, k.jsonEvent({ type: "A_SUBMITTED", data }));
  };
  const start = process.hrtime.bigint();
  await Promise.all(Array.from({ length: 256 }, work));
  return 6000 / (Number(process.hrtime.bigint() - start) / 1e9);
}

async function reads() {
  const start = process.hrtime.bigint();
  let got = 0;
  for await (const _ of client.readStream("loan-1", { maxCount: Number(count) })) got++;
  return got / (Number(process.hrtime.bigint() - start) / 1e9);
}

(what === "appends" ? appends() : reads()).then(async (rate) => {
  console.log(rate);
  await client.dispose();
  process.exit(0);
});
