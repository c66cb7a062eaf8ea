resource "google_pubsub_topic" "edge-jobs" {
  name    = "edge-jobs"
  project = "my-project"
}

resource "google_pubsub_topic" "edge-jobs-dead" {
  name    = "edge-jobs-dead"
  project = "my-project"
}

resource "google_pubsub_subscription" "edge-jobs_any-none" {
  name                       = "edge-jobs.any-none"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"any\" AND attributes.edge_accel = \"none\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_any-nvidia" {
  name                       = "edge-jobs.any-nvidia"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"any\" AND attributes.edge_accel = \"nvidia\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_any-jetson" {
  name                       = "edge-jobs.any-jetson"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"any\" AND attributes.edge_accel = \"jetson\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_amd64-none" {
  name                       = "edge-jobs.amd64-none"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"amd64\" AND attributes.edge_accel = \"none\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_amd64-nvidia" {
  name                       = "edge-jobs.amd64-nvidia"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"amd64\" AND attributes.edge_accel = \"nvidia\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_amd64-jetson" {
  name                       = "edge-jobs.amd64-jetson"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"amd64\" AND attributes.edge_accel = \"jetson\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_arm64-none" {
  name                       = "edge-jobs.arm64-none"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"arm64\" AND attributes.edge_accel = \"none\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_arm64-nvidia" {
  name                       = "edge-jobs.arm64-nvidia"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"arm64\" AND attributes.edge_accel = \"nvidia\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_arm64-jetson" {
  name                       = "edge-jobs.arm64-jetson"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"arm64\" AND attributes.edge_accel = \"jetson\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_arm-none" {
  name                       = "edge-jobs.arm-none"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"arm\" AND attributes.edge_accel = \"none\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_arm-nvidia" {
  name                       = "edge-jobs.arm-nvidia"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"arm\" AND attributes.edge_accel = \"nvidia\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_arm-jetson" {
  name                       = "edge-jobs.arm-jetson"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"arm\" AND attributes.edge_accel = \"jetson\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_386-none" {
  name                       = "edge-jobs.386-none"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"386\" AND attributes.edge_accel = \"none\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_386-nvidia" {
  name                       = "edge-jobs.386-nvidia"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"386\" AND attributes.edge_accel = \"nvidia\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_386-jetson" {
  name                       = "edge-jobs.386-jetson"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"386\" AND attributes.edge_accel = \"jetson\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_ppc64le-none" {
  name                       = "edge-jobs.ppc64le-none"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"ppc64le\" AND attributes.edge_accel = \"none\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_ppc64le-nvidia" {
  name                       = "edge-jobs.ppc64le-nvidia"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"ppc64le\" AND attributes.edge_accel = \"nvidia\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_ppc64le-jetson" {
  name                       = "edge-jobs.ppc64le-jetson"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"ppc64le\" AND attributes.edge_accel = \"jetson\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_s390x-none" {
  name                       = "edge-jobs.s390x-none"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"s390x\" AND attributes.edge_accel = \"none\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_s390x-nvidia" {
  name                       = "edge-jobs.s390x-nvidia"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"s390x\" AND attributes.edge_accel = \"nvidia\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_s390x-jetson" {
  name                       = "edge-jobs.s390x-jetson"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"s390x\" AND attributes.edge_accel = \"jetson\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_riscv64-none" {
  name                       = "edge-jobs.riscv64-none"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"riscv64\" AND attributes.edge_accel = \"none\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_riscv64-nvidia" {
  name                       = "edge-jobs.riscv64-nvidia"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"riscv64\" AND attributes.edge_accel = \"nvidia\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_riscv64-jetson" {
  name                       = "edge-jobs.riscv64-jetson"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "attributes.edge_arch = \"riscv64\" AND attributes.edge_accel = \"jetson\""
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs_plain" {
  name                       = "edge-jobs.plain"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs.id
  filter                     = "NOT attributes:edge_arch"
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_pubsub_subscription" "edge-jobs-dead" {
  name                       = "edge-jobs-dead"
  project                    = "my-project"
  topic                      = google_pubsub_topic.edge-jobs-dead.id
  ack_deadline_seconds       = 20
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = "" # never
  }
}
