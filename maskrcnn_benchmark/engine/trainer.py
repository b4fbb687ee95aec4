from maskrcnn_benchmark.engine.training import do_train, reduce_loss_dict

__all__ = ["do_train", "reduce_loss_dict"]
