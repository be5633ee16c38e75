// What the documentation of Kurrent's Node client shows, against the server whose connection string is the argument.
// Its reads run in Kurrent's Rust client. Prints "ok" and the name of each step.
const assert = require("node:assert");
const k = require("@kurrent/kurrentdb-client");
const { jsonEvent, binaryEvent, NO_STREAM, STREAM_EXISTS, START, END, FORWARDS, BACKWARDS } = k;

const client = k.KurrentDBClient.connectionString(process.argv[2]);
const category = `booking${Date.now()}`;
let number = 0;
const fresh = () => `${category}-${number++}`;
const seat = (id, metadata) => jsonEvent({ type: "SeatReserved", data: { seat: id }, metadata });

async function all(events) {
  const found = [];
  for await (const each of events) found.push(each);
  return found;
}

async function first(subscription, count) {
  const found = [];
  for await (const each of subscription) if (found.push(each) === count) break;
  await subscription.unsubscribe();
  return found;
}

const steps = {
  async append_and_read() {
    const stream = fresh();
    const done = await client.appendToStream(stream, [seat("1A", { who: "joe" }), seat("1B")], { streamState: NO_STREAM });
    assert.equal(done.nextExpectedRevision, 1n);
    const read = await all(client.readStream(stream, { direction: FORWARDS, fromRevision: START }));
    assert.deepEqual(read.map(({ event }) => event.data.seat), ["1A", "1B"]);
    assert.deepEqual(read[0].event.metadata, { who: "joe" });
    assert.equal(read[1].event.revision, 1n);
    assert.equal(read[1].event.position.commit, done.position.commit);
    const last = await all(client.readStream(stream, { direction: BACKWARDS, fromRevision: END, maxCount: 1 }));
    assert.equal(last[0].event.data.seat, "1B");
    const second = await all(client.readStream(stream, { fromRevision: 1n }));
    assert.equal(second.length, 1);
  },

  async bytes() {
    const stream = fresh();
    const given = binaryEvent({ type: "Scan", data: Buffer.from([0, 255, 7]), metadata: Buffer.from([1]) });
    await client.appendToStream(stream, [given]);
    const [{ event }] = await all(client.readStream(stream));
    assert.deepEqual([...event.data], [0, 255, 7]);
    assert.equal(event.isJson, false);
  },

  async wrong_versions() {
    const stream = fresh();
    await client.appendToStream(stream, [seat("1A")], { streamState: NO_STREAM });
    for (const streamState of [NO_STREAM, 5n]) {
      await assert.rejects(client.appendToStream(stream, [seat("1B")], { streamState }), (error) => {
        assert.ok(error instanceof k.WrongExpectedVersionError, error);
        assert.equal(error.actualState, 0n);
        return true;
      });
    }
    await assert.rejects(
      client.appendToStream(fresh(), [seat("1B")], { streamState: STREAM_EXISTS }),
      k.WrongExpectedVersionError
    );
  },

  async a_retry() {
    const stream = fresh();
    const event = seat("1A");
    const done = await client.appendToStream(stream, event, { streamState: NO_STREAM });
    const again = await client.appendToStream(stream, event, { streamState: NO_STREAM });
    assert.deepEqual(again.position, done.position);
  },

  async many_at_a_time() {
    const stream = fresh();
    await Promise.all(Array.from({ length: 200 }, (_, n) => client.appendToStream(stream, seat(n))));
    const read = await all(client.readStream(stream));
    assert.deepEqual(read.map(({ event }) => event.data.seat), Array.from({ length: 200 }, (_, n) => n));
  },

  async not_there() {
    await assert.rejects(all(client.readStream(fresh())), k.StreamNotFoundError);
  },

  async deleted_and_tombstoned() {
    const stream = fresh();
    await client.appendToStream(stream, [seat("1A")]);
    await assert.rejects(client.deleteStream(stream, { expectedRevision: 7n }), k.WrongExpectedVersionError);
    await client.deleteStream(stream, { expectedRevision: 0n });
    await assert.rejects(all(client.readStream(stream)), k.StreamNotFoundError);
    await client.appendToStream(stream, [seat("1B")], { streamState: NO_STREAM });
    assert.equal((await all(client.readStream(stream)))[0].event.revision, 1n);
    await client.tombstoneStream(stream);
    await assert.rejects(all(client.readStream(stream)), k.StreamDeletedError);
    await assert.rejects(client.appendToStream(stream, [seat("1C")]), k.StreamDeletedError);
  },

  async metadata() {
    const stream = fresh();
    await client.appendToStream(stream, [seat("1A"), seat("1B"), seat("1C")]);
    await client.setStreamMetadata(stream, { maxCount: 2, truncateBefore: 1, color: "red", acl: { readRoles: ["joe"] } });
    const { metadata } = await client.getStreamMetadata(stream);
    assert.equal(metadata.maxCount, 2);
    assert.equal(metadata.color, "red");
    assert.equal((await all(client.readStream(stream))).length, 2);
  },

  async read_all() {
    const stream = fresh();
    const { position } = await client.appendToStream(stream, [seat("1A"), seat("1B")]);
    const last = await all(client.readAll({ direction: BACKWARDS, fromPosition: END, maxCount: 2 }));
    assert.deepEqual(last.map(({ event }) => event.data.seat), ["1B", "1A"]);
    const from = await all(client.readAll({ fromPosition: position, maxCount: 1 }));
    assert.equal(from[0].event.position.commit, position.commit);
    const filter = k.streamNameFilter({ prefixes: [`${category}-`] });
    const mine = await all(client.readAll({ filter, fromPosition: START, maxCount: 5 }));
    assert.ok(mine.every(({ event }) => event.streamId.startsWith(category)));
  },

  async subscribe_to_a_stream() {
    const stream = fresh();
    await client.appendToStream(stream, [seat("1A")]);
    const subscription = client.subscribeToStream(stream, { fromRevision: START });
    setTimeout(() => client.appendToStream(stream, [seat("1B")]), 200);
    const seen = await first(subscription, 2);
    assert.deepEqual(seen.map(({ event }) => event.data.seat), ["1A", "1B"]);
  },

  async subscribe_to_all_filtered() {
    const stream = fresh();
    const filter = k.streamNameFilter({ prefixes: [stream], checkpointInterval: 1, checkpointReached: async () => {} });
    const subscription = client.subscribeToAll({ fromPosition: START, filter });
    setTimeout(() => client.appendToStream(stream, [seat("1A"), seat("1B")]), 200);
    const seen = await first(subscription, 2);
    assert.deepEqual(seen.map(({ event }) => event.data.seat), ["1A", "1B"]);
    const after = client.subscribeToAll({
      fromPosition: seen[0].event.position,
      filter: k.eventTypeFilter({ regex: "^SeatReserved$" }),
    });
    assert.equal((await first(after, 1))[0].event.data.seat, "1B");
  },

  async a_category() {
    const read = await all(client.readStream(`$ce-${category}`, { resolveLinkTos: true, maxCount: 3 }));
    assert.ok(read.every(({ event, link }) => event.streamId.startsWith(category) && link.type === "$>"));
  },

  async persistent_subscription_to_a_stream() {
    const stream = fresh();
    const settings = k.persistentSubscriptionToStreamSettingsFromDefaults({ startFrom: START, maxRetryCount: 2 });
    await client.createPersistentSubscriptionToStream(stream, "group", settings);
    await assert.rejects(
      client.createPersistentSubscriptionToStream(stream, "group", settings),
      k.PersistentSubscriptionExistsError
    );
    await client.appendToStream(stream, [seat("1A"), seat("1B"), seat("1C")]);
    const subscription = client.subscribeToPersistentSubscriptionToStream(stream, "group", { bufferSize: 10 });
    const seen = [];
    for await (const event of subscription) {
      seen.push([event.event.data.seat, event.retryCount]);
      if (event.event.data.seat === "1A" && event.retryCount === 0) await subscription.nack("retry", "again", event);
      else if (event.event.data.seat === "1B") await subscription.nack("park", "not now", event);
      else await subscription.ack(event);
      if (seen.length === 4) break;
    }
    await subscription.unsubscribe();
    assert.deepEqual(seen.sort(), [["1A", 0], ["1A", 1], ["1B", 0], ["1C", 0]]);
    let info;
    for (let tries = 0; tries < 50; tries++) {
      info = await client.getPersistentSubscriptionToStreamInfo(stream, "group");
      if (Number(info.stats.parkedMessageCount) === 1) break;
      await new Promise((done) => setTimeout(done, 100));
    }
    assert.equal(info.stats.parkedMessageCount, 1);
    assert.equal(info.settings.maxRetryCount, 2);
    await client.replayParkedMessagesToStream(stream, "group");
    const again = client.subscribeToPersistentSubscriptionToStream(stream, "group");
    for await (const event of again) {
      assert.equal(event.event.data.seat, "1B");
      await again.ack(event);
      break;
    }
    await again.unsubscribe();
    const listed = await client.listPersistentSubscriptionsToStream(stream);
    assert.deepEqual(listed.map(({ groupName }) => groupName), ["group"]);
    await client.updatePersistentSubscriptionToStream(stream, "group", settings);
    await client.deletePersistentSubscriptionToStream(stream, "group");
    await assert.rejects(
      client.deletePersistentSubscriptionToStream(stream, "group"),
      k.PersistentSubscriptionDoesNotExistError
    );
  },

  async persistent_subscription_to_all() {
    const stream = fresh();
    const settings = k.persistentSubscriptionToAllSettingsFromDefaults({ startFrom: END });
    const filter = k.streamNameFilter({ prefixes: [stream] });
    await client.createPersistentSubscriptionToAll(stream, settings, { filter });
    await client.appendToStream(stream, [seat("1A")]);
    const subscription = client.subscribeToPersistentSubscriptionToAll(stream);
    for await (const event of subscription) {
      assert.equal(event.event.data.seat, "1A");
      await subscription.ack(event);
      break;
    }
    await subscription.unsubscribe();
    await client.deletePersistentSubscriptionToAll(stream);
  },

  async multi_stream_append() {
    const [one, two] = [fresh(), fresh()];
    const parts = [one, two].map((streamName) => ({ streamName, expectedState: NO_STREAM, events: [seat("1A", { a: "b" })] }));
    const done = await client.multiStreamAppend(parts);
    assert.deepEqual(done.responses.map(({ revision }) => revision), [0n, 0n]);
    await assert.rejects(
      client.multiStreamAppend([{ streamName: one, expectedState: NO_STREAM, events: [seat("1B")] }]),
      k.WrongExpectedVersionError
    );
  },

  async what_is_out_of_scope() {
    await assert.rejects(client.createProjection("p", "fromAll()"), (error) => {
      assert.match(String(error), /Headwater runs no JavaScript projections/);
      return true;
    });
  },
};

(async () => {
  for (const [name, step] of Object.entries(steps)) {
    try {
      await step();
      console.log(`ok ${name}`);
    } catch (error) {
      console.log(`FAILED ${name}: ${error.stack}`);
    }
  }
  await client.dispose();
  process.exit(0);
})();
