"""What several folders of tests share: data sets, models, programs and processes, small enough for tests."""
