# The table of a Headwater store, and a policy for the role of each program that uses it.

resource "aws_dynamodb_table" "events" {
  name = "@TABLE@"

  # p: which partition, k: where in it. What each item is stands in docs/how-to/dynamodb.md. No secondary index is
  # needed, and none would help: they are read eventually, so that a reader could miss an event.
  hash_key  = "p"
  range_key = "k"

  attribute {
    name = "p"
    type = "S"
  }

  attribute {
    name = "k"
    type = "S"
  }

  # Appends come in bursts; paid by request, they are not refused for it.
  billing_mode = "PAY_PER_REQUEST"

  # Back to any second of the last 35 days.
  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled = true
  }

  # The only copy of a history: nothing that Terraform does takes it away.
  deletion_protection_enabled = true

  lifecycle {
    prevent_destroy = true
  }

  # No ttl: events do not expire. No stream: positions come from the table itself.
}

data "aws_iam_policy_document" "events" {
  statement {
    resources = [aws_dynamodb_table.events.arn]
    actions = [
      "dynamodb:GetItem",
      "dynamodb:BatchGetItem",
      "dynamodb:Query",
      "dynamodb:PutItem",
      "dynamodb:UpdateItem",
      "dynamodb:DeleteItem",
      "dynamodb:BatchWriteItem",
      # For headwater doctor:
      "dynamodb:DescribeTable",
      "dynamodb:DescribeContinuousBackups",
      "dynamodb:DescribeTimeToLive",
    ]
  }
}

resource "aws_iam_policy" "events" {
  name   = "@TABLE@-access"
  policy = data.aws_iam_policy_document.events.json
}
